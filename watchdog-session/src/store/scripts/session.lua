-- How a session stands, and what its record says.
local SLACK = 60000

local function common(record)
  local version, flags, header, created, deadline, seen, idle = struct.unpack(COMMON, record)
  return {
    version = version, flags = flags, header = header,
    created = created, deadline = deadline, seen = seen, idle = idle,
  }
end

local function is_expired(head)
  return now >= head.deadline or now >= head.seen + head.idle
end

-- Sessions created up to this time are revoked, given the user's own stamp.
local function floor(own)
  return math.max(tonumber(own or 0), tonumber(redis.call('GET', KEYS[3]) or 0))
end

-- How a session stands; one that has expired is removed and reported.
local function settle(id)
  local held = redis.call('HMGET', users, 's:' .. id, 'e')
  local record = held[1]
  if not record or #record < COMMON_BYTES then return 'gone' end
  local head = common(record)
  if head.created <= floor(held[2]) then return 'gone' end
  if not is_expired(head) then return 'alive', record, head end
  reach(data_of(id))
  forget(id)
  report('expired', id, record, head)
  return 'expired'
end

-- The digest of the session token's secret, in version 1: it tells a repeated call.
local function secret(record)
  if not record or #record < HEADER_BYTES then return nil end
  local head = common(record)
  return head.version == 1 and head.header == HEADER_BYTES and string.sub(record, 59, 90) or nil
end

local function is_same_secret(one, other)
  return secret(one) ~= nil and secret(one) == secret(other)
end

-- Lets the user's sessions live at least so long.
local function keep_until(deadline)
  if redis.call('PEXPIRETIME', users) < deadline then
    redis.call('PEXPIREAT', users, text(deadline))
  end
end
