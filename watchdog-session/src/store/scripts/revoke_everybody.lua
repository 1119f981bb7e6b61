-- session.revoke_everybody.v2: ends all sessions of a bucket that began before.
-- ARGV: 5 reason, 6 nonce, 7 longest lifetime (ms), 8 whether to report. Answers {'done', now}.
local LEAD = 100
local reason, nonce, lifetime, is_reported = ARGV[5], ARGV[6], tonumber(ARGV[7]), ARGV[8] == '1'
local set_by = sibling('gn', false)
reach(set_by)
if redis.call('GET', set_by) == nonce then return { 'done', now } end
local stamp = math.max(floor(0), now + LEAD)
local life = math.max(lifetime + SLACK, redis.call('PTTL', KEYS[3]))
redis.call('SET', KEYS[3], text(stamp), 'PX', text(life))
redis.call('SET', set_by, nonce, 'PX', SLACK)
if is_reported then
  report('everybody_revoked', session, '', { header = 0 }, 'd:reason', reason)
end
return { 'done', now }
