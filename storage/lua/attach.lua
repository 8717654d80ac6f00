-- Adds a node to the sets of nodes of conversations, and remembers in its index where it is.
-- KEYS: incarnation, attached:<node>, index:<node>, then the sets
-- ARGV: node, value of a new incarnation, seconds to keep the counter
-- Returns {incarnation, attach count}
redis.call('SET', KEYS[1], ARGV[2], 'NX')
for i = 4, #KEYS do
  redis.call('SADD', KEYS[i], ARGV[1])
  redis.call('SADD', KEYS[3], KEYS[i])
end
local attached = redis.call('INCRBY', KEYS[2], #KEYS - 3)
redis.call('EXPIRE', KEYS[2], ARGV[3])
return {redis.call('GET', KEYS[1]), attached}
