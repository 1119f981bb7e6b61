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
  redis.call('ZADD', markers, text(now), ARGV[3] .. ':' .. what)
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
