-- The reverse of attach.lua; the attach counter stays.
-- KEYS: index:<node>, then the sets
-- ARGV: node
for i = 2, #KEYS do
  redis.call('SREM', KEYS[i], ARGV[1])
  redis.call('SREM', KEYS[1], KEYS[i])
end
return #KEYS - 1
