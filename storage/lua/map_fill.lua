-- Writes a group map, unless a newer one is there or was announced.
-- KEYS: the map, its floor
-- ARGV: version, seconds to keep it, then user, value, user, value, ...
-- Returns 1 written, 0 refused
local version = tonumber(ARGV[1])
local floor = tonumber(redis.call('GET', KEYS[2]) or '0')
local stored = tonumber(redis.call('HGET', KEYS[1], '#version') or '0')
if version < floor or version < stored then
  return 0
end
redis.call('DEL', KEYS[1])
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('HSET', KEYS[1], '#version', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
