-- session.claim.v1: hands events of a bucket out for delivery. A repeat hands out the same.
-- KEYS: 1 stream, 2 count of dropped events. ARGV: 1 consumer, 2 limit, 3 how long an event must
-- have been held to be taken over (ms), 4 room of the stream, 5 ten random bytes.
-- Answers entries as XRANGE does.
local GROUP = 'audit'
local stream, dropped = KEYS[1], KEYS[2]
local consumer, limit, idle = ARGV[1], tonumber(ARGV[2]), ARGV[3]

-- Once there is room again, what was dropped is told in an event that lasts like any other.
local waiting = redis.call('XLEN', stream)
local count = redis.call('GET', dropped)
if count and waiting < tonumber(ARGV[4]) then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local nobody = string.rep('0', 32)
  redis.call('XADD', stream, '*', 'v', '1', 'action', 'events_dropped',
    'at', string.format('%.0f', now), 'session', nobody, 'user', nobody,
    'seed', string.sub(struct.pack('>I8', now), 3) .. ARGV[5], 'index', '0', 'sealed', '',
    'client', '', 'd:count', count)
  redis.call('DEL', dropped)
  waiting = waiting + 1
end
if waiting == 0 then
  redis.call('DEL', stream)
  return {}
end

local has_group = false
for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  has_group = has_group or group[2] == GROUP
end
if not has_group then redis.call('XGROUP', 'CREATE', stream, GROUP, '0') end

local found, is_found = {}, {}
local function add(entries)
  for _, entry in ipairs(entries) do
    -- Without fields: deleted by a process that knows no group. XAUTOCLAIM forgets it below.
    if entry[2] and not is_found[entry[1]] then
      is_found[entry[1]] = true
      found[#found + 1] = entry
    end
  end
end

local function read(from)
  local reply = redis.call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', limit - #found,
    'STREAMS', stream, from)
  if reply then add(reply[1][2]) end
end

-- Its own first: the answer that handed them out may be lost.
read('0')
local own, cursor = #found, '0-0'
while #found < limit do
  local reply = redis.call('XAUTOCLAIM', stream, GROUP, consumer, idle, cursor,
    'COUNT', limit - #found)
  add(reply[2])
  cursor = reply[1]
  if cursor == '0-0' then break end
end
if #found > own then
  -- Somebody died. Consumers that hold nothing would stay for as long as the stream does.
  for _, other in ipairs(redis.call('XINFO', 'CONSUMERS', stream, GROUP)) do
    if other[4] == 0 and other[6] >= tonumber(idle) and other[2] ~= consumer then
      redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, other[2])
    end
  end
end
if #found < limit then read('>') end
if #found == 0 then redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, consumer) end
return found
