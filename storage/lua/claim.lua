-- A node's claim on a user.
-- KEYS: the user map
-- ARGV: node, now, end of the lease, length of a lease (all ms), devices ("" = gone from this node), then name, status, text: "" = keep, else "=" and the value
-- Returns {changed 0 | 1, status, text, last_seen}: what others see now
local key, now, length = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local user = {}
local flat = redis.call('HGETALL', key)
for i = 1, #flat, 2 do
  user[flat[i]] = flat[i + 1]
end

local function visible()
  for field, value in pairs(user) do
    if string.sub(field, 1, 2) == 'n:' and tonumber(string.match(value, '^%d+') or '0') > now then
      local status = user.status or 'online'
      if status == 'invisible' then break end
      return status, user.text or ''
    end
  end
  return 'offline', ''
end

local function seen(at)
  if at > (tonumber(user.last_seen or '0') or 0) then
    user.last_seen = string.format('%.0f', at)
    redis.call('HSET', key, 'last_seen', user.last_seen)
  end
end

-- Leases that ran out: the user was last seen when they were last renewed.
for field, value in pairs(user) do
  if string.sub(field, 1, 2) == 'n:' then
    local till = tonumber(string.match(value, '^%d+') or '0')
    if till <= now then
      if user.status ~= 'invisible' then seen(till - length) end
      redis.call('HDEL', key, field)
      user[field] = nil
    end
  end
end

local status_before, text_before = visible()
for i, field in ipairs({'name', 'status', 'text'}) do
  local value = ARGV[5 + i]
  if value ~= '' then
    user[field] = string.sub(value, 2)
    redis.call('HSET', key, field, user[field])
  end
end
if ARGV[5] == '' then
  user['n:' .. ARGV[1]] = nil
  redis.call('HDEL', key, 'n:' .. ARGV[1])
else
  user['n:' .. ARGV[1]] = ARGV[3]
  redis.call('HSET', key, 'n:' .. ARGV[1], ARGV[3] .. '|' .. ARGV[5])
end

local status, text = visible()
if status_before ~= 'offline' and status == 'offline' then
  seen(now)
end
redis.call('EXPIRE', key, 86400)
local changed = 0
if status ~= status_before or text ~= text_before then
  changed = 1
end
return {changed, status, text, user.last_seen or '0'}
