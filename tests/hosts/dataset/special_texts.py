"""What clients write only in a certain situation, or only the operator may; as in texts.py."""

# Over a key whose TTL has run out: the server deletes it first, as part of the same command.
RUNS_OUT = r"""
SET %lapsed:counter 100 PX 1
SET %lapsed:string old PX 1
RPUSH %lapsed:list old
PEXPIRE %lapsed:list 1
HSET %lapsed:hash field 100
PEXPIRE %lapsed:hash 1
"""
OVER_WHAT_RAN_OUT = r"""
INCR %lapsed:counter
SET %lapsed:string new
RPUSH %lapsed:list new
HINCRBY %lapsed:hash field 1
"""

# What a client waits for, and what another one then writes, from which it is served.
WAITED_FOR = r"""
BLPOP %blocked:left 0
BRPOP %blocked:right 0
BLMOVE %blocked:move %blocked:moved LEFT RIGHT 0
BRPOPLPUSH %blocked:old %blocked:pushed 0
BLMPOP 0 1 %blocked:several LEFT COUNT 2
BZPOPMIN %blocked:lowest 0
BZPOPMAX %blocked:highest 0
BZMPOP 0 1 %blocked:scores MIN COUNT 2
XREADGROUP GROUP group waits BLOCK 0 STREAMS %blocked:stream >
XREADGROUP GROUP group waits NOACK BLOCK 0 STREAMS %blocked:stream >
"""
SERVED = r"""
RPUSH %blocked:left one two
RPUSH %blocked:right one two
RPUSH %blocked:move one two
RPUSH %blocked:old one two
RPUSH %blocked:several one two three
ZADD %blocked:lowest 1 one 2 two
ZADD %blocked:highest 1 one 2 two
ZADD %blocked:scores 1 one 2 two 3 three
XADD %blocked:stream 1-1 field value
XADD %blocked:stream 1-2 field value
"""
BEFORE_WAITING = "XGROUP CREATE %blocked:stream group 0 MKSTREAM"

# The operator's alone: @dangerous. `{dump}` is what DUMP says of a list.
OPERATOR = r"""
RPUSH %sort:from 3 1 2
SORT %sort:from STORE %sort:numbers
SORT %sort:from BY nosort DESC LIMIT 0 2 STORE %sort:limited
RESTORE %restored 0 {dump}
RESTORE %restored:ttl {ms} {dump} ABSTTL
SET %swapped value
MOVE %swapped 10
SWAPDB 10 11
"""
FLUSHED = r"""
SELECT 12
SET %flushed value
FLUSHDB
SET %written-after-the-flush value
SELECT 0
"""
TO_DUMP = "RPUSH %to-dump one two three"
