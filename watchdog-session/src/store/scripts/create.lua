-- session.create.v1: stores a new session, prunes expired ones, evicts the oldest over the limit.
-- ARGV: 5 record, 6 limit, 7 tolerance (ms). Answers {outcome, now, a, b}.
local record, limit, tolerance = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
-- Where the digest of the session token's secret stands in version 1.
local function secret(of) return string.sub(of, 59, 90) end

local held = redis.call('HGET', users, 's:' .. session)
if held then
  if #held >= 202 and secret(held) == secret(record) then return { 'stored', now, 0, 0 } end
  return { 'taken', now, 0, 0 }
end

local fresh = common(record)
local revoked = stamp('e')
local floor = math.max(revoked, stamp('r'))
if fresh.created <= floor or math.abs(now - fresh.created) > tolerance then
  return { 'skewed', now, floor, 0 }
end

local all = {}
local fields = redis.call('HGETALL', users)
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == 's:' then
    if #fields[i + 1] < COMMON_BYTES then
      redis.call('HDEL', users, fields[i])
    else
      all[#all + 1] = {
        id = string.sub(fields[i], 3), record = fields[i + 1], head = common(fields[i + 1]),
      }
    end
  end
end
table.sort(all, function(a, b)
  if a.head.created ~= b.head.created then return a.head.created < b.head.created end
  return a.id < b.id
end)

local live, expired, evicted = {}, 0, 0
for _, old in ipairs(all) do
  if old.head.created <= revoked then
    redis.call('HDEL', users, 's:' .. old.id)
  elseif is_expired(old.head) then
    redis.call('HDEL', users, 's:' .. old.id)
    report('expired', old.id, old.record, old.head)
    expired = expired + 1
  else
    live[#live + 1] = old
  end
end
for i = 1, #live + 1 - limit do
  redis.call('HDEL', users, 's:' .. live[i].id)
  report('evicted', live[i].id, live[i].record, live[i].head)
  evicted = evicted + 1
end

redis.call('HSET', users, 's:' .. session, record)
if redis.call('PEXPIRETIME', users) < fresh.deadline + SLACK then
  redis.call('PEXPIREAT', users, string.format('%.0f', fresh.deadline + SLACK))
end
report('issued', session, record, fresh)
return { 'stored', now, expired, evicted }
