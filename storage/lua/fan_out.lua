-- Sends each conversation's items to the nodes of its set, the publisher excepted: one frame a node.
-- KEYS: incarnation, attached:<publisher>, sent:<publisher>, then the set of nodes of each conversation
-- ARGV: publisher, prefix of the channels, expected incarnation ("" = any), least attach count, seconds to keep the numbers, then each conversation's items
-- Returns {1 published | 0 refused, incarnation, attach count, node, node, ...}
local self, prefix, expected, least, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local incarnation = redis.call('GET', KEYS[1]) or ''
local attached = tonumber(redis.call('GET', KEYS[2]) or '0')
if expected ~= '' and (incarnation ~= expected or attached < least) then
  return {0, incarnation, attached}
end

local nodes, blobs = {}, {}
for i = 4, #KEYS do
  for _, node in ipairs(redis.call('SMEMBERS', KEYS[i])) do
    if node ~= self then
      if not blobs[node] then
        blobs[node] = {}
        nodes[#nodes + 1] = node
      end
      table.insert(blobs[node], ARGV[i + 2])
    end
  end
end

local reply = {1, incarnation, attached}
for _, node in ipairs(nodes) do
  local number = redis.call('HINCRBY', KEYS[3], node, 1)
  redis.call('PUBLISH', prefix .. node, self .. ' ' .. number .. '\n' .. table.concat(blobs[node]))
  reply[#reply + 1] = node
end
if #nodes > 0 then
  redis.call('EXPIRE', KEYS[3], ttl)
end
return reply
