-- A node wants to hear of a user's presence, or no longer does.
-- KEYS: the user's watchers
-- ARGV: node, now, end of the watch (ms; 0 = no more), seconds to keep the hash
if ARGV[3] == '0' then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
if redis.call('HLEN', KEYS[1]) >= 64 then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if (tonumber(all[i + 1]) or 0) <= tonumber(ARGV[2]) then
      redis.call('HDEL', KEYS[1], all[i])
    end
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
