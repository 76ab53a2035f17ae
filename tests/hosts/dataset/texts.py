"""What the clients of a Redis write, as data: one command a line, each of them acknowledged, each leaving a trace.

`%name` is a key of the sender's own, `{s}` and `{ms}` a time to come in seconds and milliseconds, `{long}` more bytes
than the compact encodings hold; escapes as \\x00 are bytes. Every command may be part of a transaction, of a script and
of a function: what blocks, and what only the operator may do, is elsewhere.
"""

STRINGS = r"""
SET %plain value
SET %empty ""
SET %binary "\x00\xff\xfe\r\n\x00"
SET "%no UTF-8: \xff\xfe\x00\r\n" value
SET % value
SETNX %if-new value
SET %replaced old
SET %replaced new XX GET
MSET %several:1 one %several:2 ""
MSETNX %several:3 three %several:4 four
GETSET %several:1 again
APPEND %appended one
APPEND %appended "\x00two"
SETRANGE %range 5 far
INCR %counter
INCRBY %counter 41
DECR %counter
DECRBY %counter 7
INCRBYFLOAT %float 10.5
INCRBYFLOAT %float -0.1
SET %read-and-deleted value
GETDEL %read-and-deleted
SET %deleted value
DEL %deleted
SET %unlinked value
UNLINK %unlinked
SETBIT %bits 7 1
SETBIT %bits 1000 1
BITFIELD %bits SET u8 #2 200 INCRBY i5 100 1 OVERFLOW SAT INCRBY u2 102 3
BITOP XOR %bits:xor %bits %plain
BITOP NOT %bits:not %bits
PFADD %visitors one two three
PFADD %visitors:other three four
PFMERGE %visitors:all %visitors %visitors:other
"""

KEYS = r"""
SET %renamed:old value
RENAME %renamed:old %renamed
SET %renamed-if-free:old value
RENAMENX %renamed-if-free:old %renamed-if-free
SET %copied:from value EX 3600
COPY %copied:from %copied
COPY %copied:from %copied DB 9
SET %moved value
MOVE %moved 9
SELECT 5
SET %elsewhere value
SELECT 0
"""

EXPIRIES = r"""
SET %ex value EX 3600
SET %px value PX 3600000
SET %exat value EXAT {s}
SET %pxat value PXAT {ms}
SETEX %setex 3600 value
PSETEX %psetex 3600000 value
SET %keepttl value EX 3600
SET %keepttl another KEEPTTL
SET %lost-its-ttl value EX 3600
SET %lost-its-ttl another
SET %expire:nx value
EXPIRE %expire:nx 3600 NX
SET %expire:xx value EX 10
PEXPIRE %expire:xx 7200000 XX
SET %expire:gt value EX 10
EXPIREAT %expire:gt {s} GT
SET %expire:lt value EXAT {s}
PEXPIRE %expire:lt 3000000 LT
SET %expire:not value EXAT {s}
EXPIRE %expire:not 10 GT
SET %persist value EX 3600
PERSIST %persist
SET %getex value EX 10
GETEX %getex PXAT {ms}
SET %getex:persist value EX 3600
GETEX %getex:persist PERSIST
SET %gone-at-once value
EXPIREAT %gone-at-once 1
SET %runs-out-soon value PX 1
SET %deleted-and-made-again value EX 3600
DEL %deleted-and-made-again
INCR %deleted-and-made-again
HSET %hash-with-ttl field value
PEXPIREAT %hash-with-ttl {ms}
"""

HASHES = r"""
HSET %hash field value empty "" "\x00\xff" "\r\n" "" unnamed
HSET %hash:large field {long} other value
HMSET %hash:old-style field value
HSETNX %hash new value
HINCRBY %hash counter 5
HINCRBYFLOAT %hash float 10.5
HINCRBYFLOAT %hash float -0.1
HSET %hash deleted value
HDEL %hash deleted
HSET %hash:emptied field value
HDEL %hash:emptied field
"""

LISTS = r"""
RPUSH %list a b c d e f g "" "\x00\xff"
LPUSH %list first first
LPUSHX %list before
RPUSHX %list after
LINSERT %list BEFORE c "before c"
LSET %list 3 set
LREM %list 1 first
LTRIM %list 1 -2
LPOP %list
RPOP %list 2
LMPOP 1 %list LEFT COUNT 2
LMOVE %list %list:moved LEFT RIGHT
RPOPLPUSH %list %list:moved
RPUSH %list:large {long} short
RPUSH %list:emptied one
LPOP %list:emptied
"""

SETS = r"""
SADD %set a b c d e f "" "\x00\xff"
SADD %set:numbers 1 2 3
SADD %set:other b c d {long}
SREM %set a
SMOVE %set %set:other e
SPOP %set
SADD %set:popped a b c d e f
SPOP %set:popped 3
SINTERSTORE %set:inter %set %set:other
SUNIONSTORE %set:union %set %set:other
SDIFFSTORE %set:diff %set:union %set:numbers
"""

SORTED_SETS = r"""
ZADD %zset 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h 0 "" -1.5 "\x00\xff"
ZADD %zset inf infinite -inf "minus infinite" 0.1 tenth
ZADD %zset GT CH 10 a 1 b
ZADD %zset XX INCR 2.5 c
ZINCRBY %zset 0.2 tenth
ZREM %zset h
ZPOPMIN %zset
ZPOPMAX %zset 2
ZMPOP 1 %zset MIN COUNT 1
ZREMRANGEBYRANK %zset 0 0
ZREMRANGEBYSCORE %zset (4 5
ZADD %zset:lex 0 a 0 b 0 c
ZADD %zset:large 1 {long} 2 short
ZREMRANGEBYLEX %zset:lex [a (b
ZUNIONSTORE %zset:union 2 %zset %zset:lex WEIGHTS 2 3 AGGREGATE MAX
ZINTERSTORE %zset:inter 2 %zset:union %zset
ZDIFFSTORE %zset:diff 2 %zset:union %zset
ZRANGESTORE %zset:range %zset 1 2
GEOADD %geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEOADD %geo XX CH 13.4 38.1 Palermo
GEOSEARCHSTORE %geo:found %geo FROMLONLAT 15 37 BYRADIUS 200 km
GEOSEARCHSTORE %geo:distances %geo FROMMEMBER Palermo BYBOX 400 400 km STOREDIST
GEORADIUS %geo 15 37 200 km STORE %geo:old-style
"""

STREAMS = r"""
XADD %stream 1-1 field value "\x00" ""
XADD %stream 1-2 field value
XADD %stream 2-* field value
XADD %stream 3-1 field value
XADD %stream 4-1 field value
XADD %stream 5-1 field {long}
XADD %stream * field value
XGROUP CREATE %stream group 0
XGROUP CREATE %stream late 3-1 ENTRIESREAD 4
XGROUP CREATE %stream untouched $
XGROUP CREATE %stream:only-groups group $ MKSTREAM
XREADGROUP GROUP group first COUNT 5 STREAMS %stream >
XREADGROUP GROUP group second COUNT 1 STREAMS %stream >
XREADGROUP GROUP late reader NOACK STREAMS %stream >
XREADGROUP GROUP group first STREAMS %stream 0
XACK %stream group 1-1
XCLAIM %stream group third 0 1-2 2-0
XCLAIM %stream group third 0 3-1 IDLE 5000 RETRYCOUNT 7 FORCE JUSTID
XDEL %stream 4-1
XAUTOCLAIM %stream group fourth 0 4-1 COUNT 2
XGROUP CREATECONSUMER %stream group waits
XGROUP CREATECONSUMER %stream group leaves
XGROUP DELCONSUMER %stream group leaves
XGROUP CREATE %stream destroyed 0
XGROUP DESTROY %stream destroyed
XGROUP SETID %stream untouched 2-0 ENTRIESREAD 3
XADD %stream:trimmed 1-1 field value
XADD %stream:trimmed 1-2 field value
XADD %stream:trimmed MAXLEN 2 1-3 field value
XADD %stream:trimmed MINID ~ 1-2 1-4 field value
XADD %stream:trimmed NOMKSTREAM 1-5 field value
XTRIM %stream:trimmed MAXLEN 2
XTRIM %stream:trimmed MINID 1-5
XADD %stream:emptied 1-1 field value
XDEL %stream:emptied 1-1
XSETID %stream:emptied 9-9 ENTRIESADDED 100 MAXDELETEDID 5-5
"""

HASH_FIELDS = r"""
HSET %hash:ttl plain value ex value px value exat value lost value replaced value
HEXPIRE %hash:ttl 3600 FIELDS 2 ex lost
HPEXPIRE %hash:ttl 3600000 NX FIELDS 1 px
HPEXPIREAT %hash:ttl {ms} FIELDS 2 exat replaced
HPERSIST %hash:ttl FIELDS 1 lost
HSET %hash:ttl replaced another
"""

NEWEST = r"""
HSETEX %hash:ex EX 3600 FIELDS 2 one 1 two 2
HSETEX %hash:ex KEEPTTL FIELDS 1 one 11
HSETEX %hash:ex PXAT {ms} FIELDS 2 three 3 four 4
HGETEX %hash:ex PERSIST FIELDS 1 two
HGETDEL %hash:ex FIELDS 1 four
VADD %vectors VALUES 3 1 2 3 one
VADD %vectors VALUES 3 3 2 1 two SETATTR "{\x22colour\x22: 1}"
VADD %vectors VALUES 3 0 0 1 three
VREM %vectors three
VSETATTR %vectors one "{\x22colour\x22: 2}"
VADD %vectors:exact VALUES 2 0.5 0.25 one NOQUANT
"""

EVERYBODY = (STRINGS, KEYS, EXPIRIES, HASHES, LISTS, SETS, SORTED_SETS, STREAMS)
NEWER = {(7, 4): HASH_FIELDS, (8, 0): NEWEST}
