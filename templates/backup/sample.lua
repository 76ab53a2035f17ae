-- Lines `key digest expiry` of some keys, in hexadecimal: of those in ARGV from the second on, else of ARGV[1] random ones.
-- A digest is of what the key holds, whatever the order in which its server keeps that; large keys are left out.
local LARGEST = 65536
local function hex(text)
  return (text:gsub('.', function(char) return ('%02x'):format(char:byte()) end))
end
local joined
function joined(items)
  local out = {}
  for index, item in ipairs(items) do
    local text = type(item) == 'table' and joined(item) or tostring(item)
    out[index] = #text .. ':' .. text
  end
  return table.concat(out)
end
local function by_pairs(items)
  local out = {}
  for index = 1, #items, 2 do out[#out + 1] = joined({items[index], items[index + 1]}) end
  table.sort(out)
  return out
end
local function sorted(items) table.sort(items) return items end
local READ = {
  string = function(key) return {redis.call('GET', key)} end,
  list = function(key) return redis.call('LRANGE', key, 0, -1) end,
  set = function(key) return sorted(redis.call('SMEMBERS', key)) end,
  zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  stream = function(key) return redis.call('XRANGE', key, '-', '+') end,
  hash = function(key)
    -- Since 7.4 a field may expire by itself; one that does makes another encoding of it.
    if redis.REDIS_VERSION_NUM >= 0x00070400 and redis.call('OBJECT', 'ENCODING', key) ~= 'listpack' then return nil end
    return by_pairs(redis.call('HGETALL', key))
  end,
}
local function line(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return hex(key) .. ' gone 0' end
  local size = redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 5)
  local read = READ[kind]
  local items = read and size and size <= LARGEST and read(key)
  if not items then return nil end
  return ('%s %s %d'):format(hex(key), redis.sha1hex(kind .. joined(items)), redis.call('PEXPIRETIME', key))
end
local out = {}
if #ARGV > 1 then
  for index = 2, #ARGV do
    out[#out + 1] = line((ARGV[index]:gsub('..', function(pair) return string.char(tonumber(pair, 16)) end)))
  end
else
  local seen = {}
  for _ = 1, tonumber(ARGV[1]) do
    local key = redis.call('RANDOMKEY')
    if key and not seen[key] then
      seen[key] = true
      out[#out + 1] = line(key)
    end
  end
end
return out
