-- session.rotate.v2: exchanges a refresh token. The Rust twin is rotation.rs.
-- ARGV: 5 generation, 6 digest, 7 successor, 8 client, 9 nonce, 10 address or '', 11 agent,
-- 12 whether the agent is bound, 13 address family, 14 whether to rotate, 15 grace (ms),
-- 16 grace limit, 17 when the call was made (ms).
-- Answers {verdict, now[, record]}.
local REST = '>I2I4I8c8c32c32c32c16c16c16'
local REPAIR_DISTANCE, REPEAT_WINDOW = 8, 10000

local life, record, head = settle(session)
if life ~= 'alive' then return { life, now } end
if head.version > 1 then return { 'newer', now } end
if head.version ~= 1 or head.header ~= HEADER_BYTES or #record < HEADER_BYTES then
  return { 'corrupt', now }
end

local used, generation, rotated_at, nonce, secret, current, previous, origin_ip, origin_agent,
  rotated_by = struct.unpack(REST, record, COMMON_BYTES + 1)
local presented = tonumber(ARGV[5])
local digest, successor, client = ARGV[6], ARGV[7], ARGV[8]
local agent, is_agent_bound = ARGV[11], ARGV[12] == '1'
local rotate, grace, grace_limit = ARGV[14] == '1', tonumber(ARGV[15]), tonumber(ARGV[16])
-- Bits 1 and 2 of the flags: 1 is IPv4, 2 is IPv6, anything else is not known.
local family_then = math.floor(head.flags / 2) % 4
local family = ARGV[13] == '4' and 1 or ARGV[13] == '6' and 2 or 0
-- A repeat is judged by when the call was first made, so that it does not fall out of the grace.
local made_at = math.max(math.min(tonumber(ARGV[17]), now), now - REPEAT_WINDOW)
local repaired = head.flags % 2 == 1

if nonce == ARGV[9] and current == successor then
  return { repaired and 'repaired' or 'rotated', now, record }
end

-- One host has both families, and takes now this, now that (RFC 8305).
local function is_changed_family()
  return family_then * family == 2 and agent == origin_agent
end

local function by_lineage()
  if presented > generation then
    return presented - generation <= REPAIR_DISTANCE and 'repaired' or 'ahead'
  end
  if presented == generation and digest == current then return rotate and 'rotated' or 'kept' end
  local just_replaced = presented + 1 == generation and digest == previous
    and successor == current
  if not (just_replaced and math.max(0, made_at - rotated_at) < grace
      and (client == rotated_by or is_changed_family())) then
    return 'reuse'
  end
  return used < grace_limit and 'grace' or 'exhausted'
end

local verdict = by_lineage()
local granted = verdict ~= 'reuse' and verdict ~= 'ahead' and verdict ~= 'exhausted'
if granted and ((ARGV[10] ~= '' and ARGV[10] ~= origin_ip)
    or (is_agent_bound and agent ~= origin_agent)) then
  return { 'mismatch', now }
end
if verdict == 'ahead' or verdict == 'exhausted' then return { verdict, now } end

local age = math.max(0, now - rotated_at)
local details = { 'd:presented', presented, 'd:generation', generation,
  'd:age', text(age) }
if verdict == 'reuse' then
  revoke(session, head)
  report('reuse', session, record, head, unpack(details))
  return { 'reuse', now }
end

local flags = head.flags
if verdict == 'grace' then
  used = used + 1
elseif verdict ~= 'kept' then
  flags = flags - flags % 8 + 2 * family + (verdict == 'repaired' and 1 or 0)
  used, generation, rotated_at, nonce = 0, presented + 1, now, ARGV[9]
  previous, current, rotated_by = digest, successor, client
end
local after = struct.pack(COMMON, head.version, flags, head.header, head.created, head.deadline,
    math.max(head.seen, now), head.idle)
  .. struct.pack(REST, used, generation, rotated_at, nonce, secret, current, previous, origin_ip,
    origin_agent, rotated_by)
  .. string.sub(record, HEADER_BYTES + 1)
redis.call('HSET', users, 's:' .. session, after)
report(verdict, session, record, head, unpack(details))
return { verdict, now, after }
