-- the rest of a process's own wake list, seconds after which an unread token goes
call('RPUSH', P .. ARGV[1], '1')
call('EXPIRE', P .. ARGV[1], ARGV[2])
return 1
