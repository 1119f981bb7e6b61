-- What every session script begins with. Time is the server's; the first 36 bytes of a record
-- are the same in every version, so a script of one release can judge a record of another.
-- KEYS: 1 the user's sessions, 2 the outbox, 3 the stamp that revokes everybody. All other keys
-- are derived from the first, and have its tag.
local COMMON, COMMON_BYTES, SLACK = '>I1I1I2I8I8I8I8', 36, 60000
local HEADER_BYTES, MARKER_LIFE = 202, 3600000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local users = KEYS[1]
local outbox = { stream = KEYS[2], seed = ARGV[1], client = ARGV[2], user = ARGV[3], index = 0 }
local session = ARGV[4]

local function text(number)
  return string.format('%.0f', number)
end

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

-- When nobody takes events away, sessions work on and the stream stops growing: what finds no room
-- is counted. What ends a session by force, or tells of a theft, has twice the room.
local MAX_EVENTS = 4096
local HAS_MORE_ROOM =
  { revoked = 1, reuse = 1, evicted = 1, repaired = 1, everybody_revoked = 1 }

-- An event without a record is about no session that could be named.
local function report(action, id, record, head, ...)
  if outbox.seed == '' then return end
  local index = outbox.index
  outbox.index = index + 1
  local room = HAS_MORE_ROOM[action] and 2 * MAX_EVENTS or MAX_EVENTS
  if redis.call('XLEN', outbox.stream) >= room then
    -- A count that is on its way to another shard misses one: no reason to stop half way.
    redis.pcall('INCR', (string.gsub(outbox.stream, ':ev:({%d+})$', ':ed:%1')))
    return
  end
  redis.call('XADD', outbox.stream, '*', 'v', '1', 'action', action,
    'at', string.format('%.0f', now), 'session', id, 'user', outbox.user, 'seed', outbox.seed,
    'index', index, 'sealed', record and string.sub(record, head.header + 1) or '',
    'client', outbox.client, ...)
end

-- Sessions created up to this time are revoked, given the user's own stamp.
local function floor(own)
  return math.max(tonumber(own or 0), tonumber(redis.call('GET', KEYS[3]) or 0))
end

-- The key of another kind with the same tag, with what follows the tag or without.
local function sibling(kind, is_of_user)
  local before = string.find(users, ':u:{', 1, true)
  local last = is_of_user and -1 or string.find(users, '}', before, true)
  return string.sub(users, 1, before) .. kind .. string.sub(users, before + 2, last)
end

local function data_of(id)
  return sibling('d', true) .. ':' .. id
end

local function marker_key()
  return sibling('rv', false)
end

-- Fails unless these derived keys can be written here; to be called before the first write. While a
-- bucket moves to another shard its keys are on either side, and no script can take back what it
-- wrote before it met one that is elsewhere. Asked for beside the user's own key, one that is missing
-- is an error on both sides. For the same reason no script removes a key that it writes again.
local function reach(...)
  redis.call('EXISTS', users, ...)
end

-- Says what was revoked to those who check access tokens without asking.
local function mark(what)
  local markers = marker_key()
  redis.call('ZADD', markers, text(now), outbox.user .. ':' .. what)
  redis.call('ZREMRANGEBYSCORE', markers, '-inf', '(' .. text(now - MARKER_LIFE))
  redis.call('PEXPIRE', markers, MARKER_LIFE)
end

-- Removes a session with its attributes.
local function forget(id)
  redis.call('HDEL', users, 's:' .. id)
  redis.call('UNLINK', data_of(id))
end

-- Ends a session for good: a repeated login does not bring it back. The stamp goes first: a hash
-- that lost its last field would lose its time to live with it.
local function revoke(id, head)
  reach(data_of(id), marker_key())
  if head.created > tonumber(redis.call('HGET', users, 'r') or 0) then
    redis.call('HSET', users, 'r', text(head.created))
  end
  forget(id)
  mark(id)
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
