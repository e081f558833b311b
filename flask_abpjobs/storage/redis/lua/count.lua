-- tenant scope. Returns hashes of counters, which are to be summed, and the number of retrying jobs is among them.
if ARGV[1] == '*' then return {call('HGETALL', P .. 'counts'), call('HGETALL', P .. 'counts:tenants')} end
if ARGV[1] == '-' then return {call('HGETALL', P .. 'counts')} end
return {call('HGETALL', P .. 'counts:of:' .. string.sub(ARGV[1], 2))}
