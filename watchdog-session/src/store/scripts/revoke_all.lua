-- session.revoke_all.v2: removes all sessions of a user, or all but one.
-- ARGV: 4 the one that stays or '', 5 reason, 6 nonce. Answers {'done', now, how many}.
local reason, nonce = ARGV[5], ARGV[6]
local all, others = load_all()
if others.a == nonce then return { 'done', now, 0 } end
local revoked = floor(others.e)

-- The stamps go first: a hash that lost its last field would lose its time to live with it.
redis.call('HSET', users, 'a', nonce)
keep_until(now + SLACK)
local latest = tonumber(others.r or 0)
for _, old in ipairs(all) do
  local is_alive = old.head.created > revoked and not is_expired(old.head)
  if old.id ~= session and is_alive then latest = math.max(latest, old.head.created) end
end
if latest > 0 then redis.call('HSET', users, 'r', text(latest)) end
if session == '' then
  redis.call('HSET', users, 'e', text(math.max(tonumber(others.e or 0), now)))
  mark('*:' .. text(now))
end

local ended = 0
for _, old in ipairs(all) do
  if old.id ~= session then
    forget(old.id)
    if old.head.created > revoked then
      if is_expired(old.head) then
        report('expired', old.id, old.record, old.head)
      else
        -- After a failover to a slower clock there are access tokens issued later than now: the mark
        -- that names a time does not reach them.
        local is_ahead = math.max(old.head.created, old.head.seen) > now
        if session ~= '' or is_ahead then mark(old.id) end
        report('revoked', old.id, old.record, old.head, 'd:reason', reason)
        ended = ended + 1
      end
    end
  end
end
return { 'done', now, ended }
