-- Writes a group map, unless a newer one is there or was announced.
-- KEYS: the map, its floor
-- ARGV: version, seconds to keep it, then user, value, user, value, ...
-- Returns 1 written, 0 refused
local function number(reply) -- an error is a table: the key is of another type, and in the way
  return type(reply) == 'string' and tonumber(reply) or 0
end
local version = tonumber(ARGV[1])
if version < number(redis.pcall('GET', KEYS[2])) or version < number(redis.pcall('HGET', KEYS[1], '#version')) then
  return 0
end
redis.call('DEL', KEYS[1])
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('HSET', KEYS[1], '#version', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
