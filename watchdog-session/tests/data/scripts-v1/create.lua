-- session.create.v1: stores a new session, prunes expired ones, evicts the oldest over the limit.
-- ARGV: 5 record, 6 limit, 7 tolerance (ms). Answers {outcome, now, a, b}.
local record, limit, tolerance = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
-- What tells a repeated call: the digest of the session token's secret, in version 1.
local function secret(of)
  if #of < 202 then return nil end
  local head = common(of)
  return head.version == 1 and head.header == 202 and string.sub(of, 59, 90) or nil
end

-- Whether the call that made a session of this age may still come in again.
local function is_repeatable(created)
  return math.abs(now - created) <= tolerance
end

local held = redis.call('HGET', users, 's:' .. session)
if held then
  local same = secret(held) and secret(held) == secret(record)
  return { same and 'stored' or 'taken', now, 0, 0 }
end

-- A repeat of a call whose session a later login evicted: it was stored, and stays evicted.
if redis.call('HEXISTS', users, 'x:' .. session) == 1 then return { 'stored', now, 0, 0 } end

local fresh = common(record)
local revoked = stamp('e')
local floor = math.max(revoked, stamp('r'))
if fresh.created <= floor or not is_repeatable(fresh.created) then
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
  elseif string.sub(fields[i], 1, 2) == 'x:'
      and not is_repeatable(tonumber(fields[i + 1]) or 0) then
    redis.call('HDEL', users, fields[i])
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
  if is_repeatable(live[i].head.created) then
    redis.call('HSET', users, 'x:' .. live[i].id, string.format('%.0f', live[i].head.created))
  end
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
