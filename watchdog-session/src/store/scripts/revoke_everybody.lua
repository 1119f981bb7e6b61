-- session.revoke_everybody.v2: ends all sessions of a bucket that began before.
-- ARGV: 5 reason, 6 nonce, 7 longest lifetime (ms), 8 whether to report, 9 '', or up to which creation
-- time (ms): then an earlier call is asserted again. Answers {'done', now, stamp}.
local LEAD = 100
local reason, nonce, lifetime, is_reported = ARGV[5], ARGV[6], tonumber(ARGV[7]), ARGV[8] == '1'
local again, stands = tonumber(ARGV[9]), floor(0)
local set_by = sibling('gn', false)
reach(set_by)
local is_done
if again then
  is_done = again <= stands
else
  is_done = redis.call('GET', set_by) == nonce
end
if is_done then return { 'done', now, stands } end
local stamp = math.max(stands, again or now + LEAD)
local life = math.max(lifetime + SLACK, redis.call('PTTL', KEYS[3]))
redis.call('SET', KEYS[3], text(stamp), 'PX', text(life))
if not again then redis.call('SET', set_by, nonce, 'PX', SLACK) end
if is_reported then
  report('everybody_revoked', session, '', { header = 0 }, 'd:reason', reason)
end
return { 'done', now, stamp }
