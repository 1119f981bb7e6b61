-- What every session script begins with. Time is the server's; the first 36 bytes of a record
-- are the same in every version, so a script of one release can judge a record of another.
local COMMON, COMMON_BYTES, SLACK = '>I1I1I2I8I8I8I8', 36, 60000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local users = KEYS[1]
local outbox = { stream = KEYS[2], seed = ARGV[1], client = ARGV[2], user = ARGV[3], index = 0 }
local session = ARGV[4]

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

local function stamp(field)
  return tonumber(redis.call('HGET', users, field) or 0)
end

local function load_record(id)
  local record = redis.call('HGET', users, 's:' .. id)
  if record and #record >= COMMON_BYTES then return record end
  return nil
end

local function report(action, id, record, head, ...)
  if outbox.seed == '' then return end
  redis.call('XADD', outbox.stream, '*', 'v', '1', 'action', action,
    'at', string.format('%.0f', now), 'session', id, 'user', outbox.user, 'seed', outbox.seed,
    'index', outbox.index, 'sealed', string.sub(record, head.header + 1), 'client', outbox.client,
    ...)
  outbox.index = outbox.index + 1
end

-- Ends a session for good: a repeated login does not bring it back. The stamp goes first: a hash
-- that lost its last field would lose its time to live with it.
local function revoke(id, head)
  if head.created > stamp('r') then
    redis.call('HSET', users, 'r', string.format('%.0f', head.created))
  end
  redis.call('HDEL', users, 's:' .. id)
end

-- How a session stands; one that has expired is removed and reported.
local function settle(id)
  local record = load_record(id)
  if not record then return 'gone' end
  local head = common(record)
  if head.created <= stamp('e') then return 'gone' end
  if not is_expired(head) then return 'alive', record, head end
  redis.call('HDEL', users, 's:' .. id)
  report('expired', id, record, head)
  return 'expired'
end
