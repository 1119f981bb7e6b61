-- What every session script begins with. Time is the server's; the first 36 bytes of a record
-- are the same in every version, so a script of one release can judge a record of another.
-- KEYS: 1 the user's sessions, 2 the outbox, 3 the stamp that revokes everybody. All other keys
-- are derived from the first, and have its tag.
-- Nothing is made here that a rotation does not need: each function and table costs it time.
local COMMON, COMMON_BYTES = '>I1I1I2I8I8I8I8', 36
local HEADER_BYTES = 202
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local users = KEYS[1]
local seed, session, next_index = ARGV[1], ARGV[4], 0

local function text(number)
  return string.format('%.0f', number)
end

-- When nobody takes events away, sessions work on and the stream stops growing: what finds no room
-- is counted. What ends a session by force, or tells of a theft, has twice the room.
local MAX_EVENTS = 4096

-- An event without a record is about no session that could be named.
local function report(action, id, record, head, ...)
  if seed == '' then return end
  local stream, index = KEYS[2], next_index
  next_index = index + 1
  local has_more_room = action == 'revoked' or action == 'reuse' or action == 'evicted'
    or action == 'repaired' or action == 'everybody_revoked'
  if redis.call('XLEN', stream) >= (has_more_room and 2 * MAX_EVENTS or MAX_EVENTS) then
    -- A count that is on its way to another shard misses one: no reason to stop half way.
    redis.pcall('INCR', (string.gsub(stream, ':ev:({%d+})$', ':ed:%1')))
    return
  end
  redis.call('XADD', stream, '*', 'v', '1', 'action', action, 'at', text(now), 'session', id,
    'user', ARGV[3], 'seed', seed, 'index', index,
    'sealed', record and string.sub(record, head.header + 1) or '', 'client', ARGV[2], ...)
end
