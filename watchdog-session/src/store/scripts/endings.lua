-- What ends a session.
local MARKER_LIFE = 3600000

-- The key of another kind with the same tag, with what follows the tag or without.
local function sibling(kind, is_of_user)
  local before = string.find(users, ':u:{', 1, true)
  local last = is_of_user and -1 or string.find(users, '}', before, true)
  return string.sub(users, 1, before) .. kind .. string.sub(users, before + 2, last)
end

local function data_of(id)
  return sibling('d', true) .. ':' .. id
end

-- Says what was revoked to those who check access tokens without asking.
local function mark(what)
  local markers = sibling('rv', false)
  redis.call('ZREMRANGEBYSCORE', markers, '-inf', '(' .. text(now - MARKER_LIFE))
  redis.call('ZADD', markers, text(now), ARGV[3] .. ':' .. what)
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
  if head.created > tonumber(redis.call('HGET', users, 'r') or 0) then
    redis.call('HSET', users, 'r', text(head.created))
  end
  forget(id)
  mark(id)
end
