-- The members changed at a version: an older map goes, and a slow reader cannot write one back.
-- KEYS: the map, its floor
-- ARGV: version, seconds to keep the floor
local version = tonumber(ARGV[1])
if version > tonumber(redis.call('GET', KEYS[2]) or '0') then
  redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
end
if tonumber(redis.call('HGET', KEYS[1], '#version') or '0') < version then
  redis.call('DEL', KEYS[1])
end
return 1
