-- session.rotate.v2: exchanges a refresh token. The Rust twin is rotation.rs.
-- ARGV: 5 generation, 6 digest, 7 successor, 8 client, 9 nonce, 10 address or '', 11 agent,
-- 12 whether the agent is bound, 13 address family, 14 whether to rotate, 15 grace (ms),
-- 16 grace limit, 17 when the call was made (ms).
-- Answers {verdict, now[, record]}.
-- Every refresh runs this to its first answer. What ends a session stands in rotate_end.lua, after
-- the functions that it alone needs.
local REPAIR_DISTANCE, REPEAT_WINDOW = 8, 10000
local field, sub = 's:' .. session, string.sub

local held = redis.call('HMGET', users, field, 'e')
local record, revoked, all_revoked = held[1], held[2], redis.call('GET', KEYS[3])
if not record or #record < COMMON_BYTES then return { 'gone', now } end
local version, flags, header, created, deadline, seen, idle = struct.unpack(COMMON, record)
if revoked and created <= tonumber(revoked) or all_revoked and created <= tonumber(all_revoked) then
  return { 'gone', now }
end

local verdict, details
if now >= deadline or now >= seen + idle then
  verdict = 'expired'
elseif version > 1 then
  return { 'newer', now }
elseif version ~= 1 or header ~= HEADER_BYTES or #record < HEADER_BYTES then
  return { 'corrupt', now }
else
  local digest, successor, client, agent = ARGV[6], ARGV[7], ARGV[8], ARGV[11]
  local used, generation, rotated_at = struct.unpack('>I2I4I8', record, COMMON_BYTES + 1)
  local current = sub(record, 91, 122)
  if current == successor and sub(record, 51, 58) == ARGV[9] then
    return { flags % 2 == 1 and 'repaired' or 'rotated', now, record }
  end

  local presented = tonumber(ARGV[5])
  -- Bits 1 and 2 of the flags: 1 is IPv4, 2 is IPv6, anything else is not known.
  local family = ARGV[13] == '4' and 1 or ARGV[13] == '6' and 2 or 0
  if presented > generation then
    verdict = presented - generation <= REPAIR_DISTANCE and 'repaired' or 'ahead'
  elseif presented == generation and digest == current then
    verdict = ARGV[14] == '1' and 'rotated' or 'kept'
  else
    -- A repeat is judged by when the call was first made, so that it does not fall out of the
    -- grace. One host has both address families, and takes now this, now that (RFC 8305).
    local made_at = math.max(math.min(tonumber(ARGV[17]), now), now - REPEAT_WINDOW)
    local just_replaced = presented + 1 == generation and digest == sub(record, 123, 154)
      and successor == current
    if not (just_replaced and math.max(0, made_at - rotated_at) < tonumber(ARGV[15])
        and (client == sub(record, 187, 202)
          or math.floor(flags / 2) % 4 * family == 2 and agent == sub(record, 171, 186))) then
      -- A clock that went back cannot tell what came first.
      verdict = made_at < rotated_at and rotated_at <= now and 'late' or 'reuse'
    else
      verdict = used < tonumber(ARGV[16]) and 'grace' or 'exhausted'
    end
  end

  if verdict == 'late' or verdict == 'ahead' or verdict == 'exhausted' then return { verdict, now } end
  if verdict ~= 'reuse' and (ARGV[10] ~= '' and ARGV[10] ~= sub(record, 155, 170)
      or ARGV[12] == '1' and agent ~= sub(record, 171, 186)) then
    return { 'mismatch', now }
  end
  if seed ~= '' then
    details = { 'd:presented', presented, 'd:generation', generation,
      'd:age', text(math.max(0, now - rotated_at)) }
  end

  if verdict ~= 'reuse' then
    -- What does not change is taken over as it stands.
    local last_seen, after = math.max(seen, now)
    if verdict == 'grace' or verdict == 'kept' then
      if verdict == 'grace' then used = used + 1 end
      after = sub(record, 1, 20) .. struct.pack('>I8', last_seen) .. sub(record, 29, 36)
        .. struct.pack('>I2', used) .. sub(record, 39)
    else
      flags = flags - flags % 8 + 2 * family + (verdict == 'repaired' and 1 or 0)
      after = struct.pack('>I1I1c18I8c8I2I4I8', version, flags, sub(record, 3, 20), last_seen,
        sub(record, 29, 36), 0, presented + 1, now) .. ARGV[9] .. sub(record, 59, 90) .. successor
        .. digest .. sub(record, 155, 186) .. client .. sub(record, HEADER_BYTES + 1)
    end
    redis.call('HSET', users, field, after)
    if details then report(verdict, session, record, { header = header }, unpack(details)) end
    return { verdict, now, after }
  end
end
