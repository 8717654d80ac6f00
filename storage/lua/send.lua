-- Sends the same items to given nodes.
-- KEYS: sent:<publisher>
-- ARGV: publisher, prefix of the channels, seconds to keep the numbers, items, then the nodes
local self, prefix, ttl, items = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
for i = 5, #ARGV do
  local number = redis.call('HINCRBY', KEYS[1], ARGV[i], 1)
  redis.call('PUBLISH', prefix .. ARGV[i], self .. ' ' .. number .. '\n' .. items)
end
redis.call('EXPIRE', KEYS[1], ttl)
return #ARGV - 4
