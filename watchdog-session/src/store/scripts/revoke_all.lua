-- session.revoke_all.v2: removes all sessions of a user, or all but one.
-- ARGV: 4 the one that stays or '', 5 reason, 6 nonce, 7 '', or up to which creation time (ms): then
-- an earlier call is asserted again. Answers {'done', now, how many, stamp, id, ...}: the ids of those
-- that the stamp does not tell of.
local reason, nonce, again = ARGV[5], ARGV[6], tonumber(ARGV[7])
local all, others = load_all()
local own, revoked = tonumber(others.e or 0), floor(others.e)
if not again and others.a == nonce then return { 'done', now, 0, own } end
reach(marker_key())

local stamp = session == '' and math.max(own, again or now) or own
local is_stamped = session == '' and (not again or stamp > own)
local going, before = {}, tonumber(others.r or 0)
local latest = before
for _, old in ipairs(all) do
  if old.id ~= session and (not again or old.head.created <= again) then
    reach(data_of(old.id))
    going[#going + 1] = old
    local is_alive = old.head.created > revoked and not is_expired(old.head)
    if is_alive then latest = math.max(latest, old.head.created) end
  end
end

-- The stamps go first: a hash that lost its last field would lose its time to live with it.
if not again then redis.call('HSET', users, 'a', nonce) end
if latest > before then redis.call('HSET', users, 'r', text(latest)) end
if is_stamped then
  redis.call('HSET', users, 'e', text(stamp))
  mark('*:' .. text(again or now))
end
if not again or is_stamped or #going > 0 then keep_until(now + SLACK) end

local ended, singly = 0, {}
for _, old in ipairs(going) do
  forget(old.id)
  if old.head.created > revoked then
    if is_expired(old.head) then
      report('expired', old.id, old.record, old.head)
    else
      -- After a failover to a slower clock there are access tokens issued later than now: the mark
      -- that names a time does not reach them.
      local is_ahead = math.max(old.head.created, old.head.seen) > now
      if session ~= '' or again or is_ahead then mark(old.id) end
      if session ~= '' or old.head.created > stamp then singly[#singly + 1] = old.id end
      report('revoked', old.id, old.record, old.head, 'd:reason', reason)
      ended = ended + 1
    end
  end
end
return { 'done', now, ended, stamp, unpack(singly) }
