-- session.time.v2: what time it is there.
return { 'time', now }
