-- What a gateway does each second: hears itself, tells its last number to the nodes it has sent to lately, and learns whether Redis lost its memory.
-- KEYS: incarnation, attached:<node>, sent:<node>
-- ARGV: node, prefix of the channels, value of a new incarnation, own clock in ms, seconds to keep counter and numbers, then the nodes
-- Returns {incarnation, attach count}
local self, prefix, ttl = ARGV[1], ARGV[2], ARGV[5]
redis.call('SET', KEYS[1], ARGV[3], 'NX')
redis.call('PUBLISH', prefix .. self, self .. ' !' .. ARGV[4] .. '\n')
for i = 6, #ARGV do
  local number = redis.call('HGET', KEYS[3], ARGV[i]) or '0'
  redis.call('PUBLISH', prefix .. ARGV[i], self .. ' =' .. number .. '\n')
end
redis.call('EXPIRE', KEYS[2], ttl)
redis.call('EXPIRE', KEYS[3], ttl)
return {redis.call('GET', KEYS[1]), tonumber(redis.call('GET', KEYS[2]) or '0')}
