-- queue
call('SADD', P .. 'paused', ARGV[1])
call('UNLINK', P .. 'wake:' .. ARGV[1])
return 1
