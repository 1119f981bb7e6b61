-- session.create.v2: stores a new session, prunes expired ones, applies the limit.
-- ARGV: 5 record, 6 limit, 7 tolerance (ms), 8 policy: oldest, used or reject.
-- Answers {outcome, now, a, b}.
local LEAD, MAX_EVICTED = 100, 256
local record, limit, tolerance, policy = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]

-- Whether the call that made a session of this age may still come in again.
local function is_repeatable(created)
  return math.abs(now - created) <= tolerance
end

local held = redis.call('HMGET', users, 's:' .. session, 'x:' .. session, 'e', 'r')
if held[1] then
  return { is_same_secret(held[1], record) and 'stored' or 'taken', now, 0, 0 }
end
-- A repeat of a call whose session a later login evicted: it was stored, and stays evicted.
if held[2] then return { 'stored', now, 0, 0 } end

local fresh = common(record)
local revoked = floor(held[3])
local lowest = math.max(revoked, tonumber(held[4] or 0))
if fresh.created <= lowest or fresh.created > math.max(now + LEAD, lowest + 1)
    or not is_repeatable(fresh.created) then
  return { 'skewed', now, lowest, 0 }
end

local all, others = load_all()
local over, live, expired, evicted = {}, {}, 0, 0
for _, old in ipairs(all) do
  local is_over = old.head.created <= revoked or is_expired(old.head)
  table.insert(is_over and over or live, old)
end
if policy == 'used' then table.sort(live, by_use) end
local is_refused = policy == 'reject' and #live >= limit
local excess = is_refused and 0 or #live + 1 - limit
for _, old in ipairs(over) do reach(data_of(old.id)) end
for i = 1, excess do reach(data_of(live[i].id), marker_key()) end

if not is_refused then redis.call('HSET', users, 's:' .. session, record) end
for _, old in ipairs(over) do
  forget(old.id)
  if old.head.created > revoked then
    report('expired', old.id, old.record, old.head)
    expired = expired + 1
  end
end
local marks = {}
for name, value in pairs(others) do
  if string.sub(name, 1, 2) == 'x:' then
    local created = tonumber(value) or 0
    if is_repeatable(created) then
      marks[#marks + 1] = { id = string.sub(name, 3), head = { created = created } }
    else
      redis.call('HDEL', users, name)
    end
  end
end
if is_refused then return { 'refused', now, #live, 0 } end

for i = 1, excess do
  local old = live[i]
  if is_repeatable(old.head.created) then
    redis.call('HSET', users, 'x:' .. old.id, text(old.head.created))
    marks[#marks + 1] = old
  end
  forget(old.id)
  mark(old.id)
  report('evicted', old.id, old.record, old.head)
  evicted = evicted + 1
end

-- Beyond so many the oldest marks go: a login whose mark goes comes back with another time.
table.sort(marks, by_age)
for i = 1, #marks - MAX_EVICTED do
  local dropped = marks[i]
  if dropped.head.created > tonumber(redis.call('HGET', users, 'r') or 0) then
    redis.call('HSET', users, 'r', text(dropped.head.created))
  end
  redis.call('HDEL', users, 'x:' .. dropped.id)
end

keep_until(fresh.deadline + SLACK)
report('issued', session, record, fresh)
return { 'stored', now, expired, evicted }
