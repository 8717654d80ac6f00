-- The members changed at a version: an older map goes, and a slow reader cannot write one back.
-- KEYS: the map, its floor
-- ARGV: version, seconds to keep the floor
local version = tonumber(ARGV[1])
local stored = redis.pcall('HGET', KEYS[1], '#version') or '0'
if type(stored) == 'table' or (tonumber(stored) or 0) < version then -- a table: an error, the key is no hash
  redis.call('DEL', KEYS[1])
end
local floor = redis.pcall('GET', KEYS[2]) or '0'
if type(floor) == 'table' or version > (tonumber(floor) or 0) then
  redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
end
return 1
