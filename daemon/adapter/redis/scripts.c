/*
 * See scripts.h.
 *
 * Numbers of views are 16 hex digits: a double keeps 53 bits only, and strings are compared by the
 * server's locale, so two halves are.
 */
#include "scripts.h"

#define FACTS  "#!lua flags=allow-oom\n"
#define COUNTS "#!lua\n"

#define HIGHER                                                             \
    "local function higher(a,b) local x,y=tonumber(string.sub(a,1,8),16)," \
    "tonumber(string.sub(b,1,8),16) if x~=y then return x>y end return "   \
    "tonumber(string.sub(a,9,16),16)>tonumber(string.sub(b,9,16),16) end\n"

/* The position in an entry's id, "POSITION-0". */
#define POSITION "local function position(id) return string.match(id,'^%d+') end\n"

/*
 * Members by their latest announcement. Where the streams begin and end stands in a hash, which
 * APPEND and TRIM keep: to ask each stream is 8 us, and there may be a thousand of the dead. 32 of
 * them are asked all the same, other ones each time, and the hash is corrected: somebody may have
 * deleted one by hand. INFO may be forbidden: the texts are empty then.
 */
const char pawl_script_announce[] = FACTS POSITION
    "local t=redis.call('TIME')\n"
    "redis.call('ZADD',KEYS[1],t[1]..string.format('%06d',t[2]),ARGV[1])\n"
    "redis.call('HSET',KEYS[2],ARGV[1],ARGV[2])\n"
    "local m=redis.call('ZREVRANGE',KEYS[1],0,127,'WITHSCORES')\n"
    "local ids={}\n"
    "for i=1,#m,2 do ids[#ids+1]=m[i] end\n"
    "local h=redis.call('HGETALL',KEYS[4])\n"
    "local names,first,top={},{},{}\n"
    "for i=1,#h,2 do\n"
    " if #h[i]==33 then first[string.sub(h[i],2)]=h[i+1]\n"
    " else names[#names+1]=h[i] top[h[i]]=h[i+1] end\n"
    "end\n"
    "local n=math.min(#names,1024)\n"
    "for i=1,math.min(n,32) do\n"
    " local o=names[(tonumber(t[2])+i)%n+1]\n"
    " local x=redis.pcall('XINFO','STREAM',ARGV[3]..o)\n"
    " local f,p='0','0'\n"
    " if not x.err then for k=1,#x,2 do\n"
    "  if x[k]=='last-generated-id' then p=position(x[k+1])\n"
    "  elseif x[k]=='first-entry' and x[k+1] then f=position(x[k+1][1]) end\n"
    " end end\n"
    " if p~=top[o] or f~=(first[o] or '0') then\n"
    "  top[o]=p first[o]=f\n"
    "  redis.call('HSET',KEYS[4],o,p,'f'..o,f)\n"
    " end\n"
    "end\n"
    "local tops={}\n"
    "for i=1,n do local o=names[i]\n"
    " tops[#tops+1]=o tops[#tops+1]=first[o] or '0' tops[#tops+1]=top[o]\n"
    "end\n"
    "local function info(s) local r=redis.pcall('INFO',s)\n"
    " if type(r)=='table' then return '' end return r end\n"
    "return {t[1],t[2],info('server'),info('replication'),redis.call('HGET',KEYS[3],'b') or '',"
    "m,redis.call('HMGET',KEYS[2],unpack(ids)),tops,redis.call('GET',KEYS[5]) or '',"
    "redis.call('SMEMBERS',KEYS[6])}";

const char pawl_script_view_set[] =
    FACTS HIGHER "local n,b=redis.call('HGET',KEYS[1],'n'),redis.call('HGET',KEYS[1],'b') or ''\n"
                 "if b=='' then n=nil end\n"
                 "if n==ARGV[1] then return {1} end\n"
                 "if ARGV[4]~='' then\n"
                 " if b~=ARGV[4] then return {0,b} end\n"
                 "elseif (n and not higher(ARGV[1],n)) or\n"
                 " (ARGV[3]~='' and ARGV[3]~=(n or '0000000000000000')) then\n"
                 " return {0,b}\n"
                 "end\n"
                 "redis.call('HSET',KEYS[1],'n',ARGV[1],'b',ARGV[2])\n"
                 "return {1,n or ''}";

const char pawl_script_retire[] = FACTS "redis.call('ZREM',KEYS[1],ARGV[1])\n"
                                        "redis.call('HDEL',KEYS[2],ARGV[1])\n"
                                        "return {1}";

/* The last entry says where the stream ends; of one that was trimmed empty, its head does. */
const char pawl_script_append[] =
    FACTS POSITION "local e=redis.call('XREVRANGE',KEYS[1],'+','-','COUNT',1)[1]\n"
                   "local top='0'\n"
                   "if e then top=position(e[1]) else\n"
                   " local x=redis.pcall('XINFO','STREAM',KEYS[1])\n"
                   " if not x.err then for n=1,#x,2 do\n"
                   "  if x[n]=='last-generated-id' then top=position(x[n+1]) end\n"
                   " end end\n"
                   "end\n"
                   "local p,t=tonumber(ARGV[1]),tonumber(top)\n"
                   "if p<=t then return {1} end\n"
                   "if p~=t+1 and tonumber(ARGV[2])~=t then return {0} end\n"
                   "redis.call('XADD',KEYS[1],ARGV[1]..'-0','d',ARGV[3])\n"
                   "redis.call('HSET',KEYS[2],ARGV[4],ARGV[1])\n"
                   "if not e then redis.call('HSET',KEYS[2],'f'..ARGV[4],ARGV[1]) end\n"
                   "return {1}";

const char pawl_script_trim[] =
    FACTS POSITION "redis.call('XTRIM',KEYS[1],'MINID',ARGV[1])\n"
                   "local e=redis.call('XRANGE',KEYS[1],'-','+','COUNT',1)[1]\n"
                   "if redis.call('HEXISTS',KEYS[2],ARGV[2])==1 then\n"
                   " redis.call('HSET',KEYS[2],'f'..ARGV[2],e and position(e[1]) or '0')\n"
                   "end\n"
                   "return {1}";

const char pawl_script_drop[] = FACTS "if redis.call('XLEN',KEYS[1])>0 then return {0} end\n"
                                      "redis.call('DEL',KEYS[1])\n"
                                      "redis.call('HDEL',KEYS[2],ARGV[1],'f'..ARGV[1])\n"
                                      "return {1}";

/* An hour is longer than any gate is closed. */
const char pawl_script_ready[] = FACTS "redis.call('SADD',KEYS[1],ARGV[1])\n"
                                       "redis.call('PEXPIRE',KEYS[1],3600000)\n"
                                       "return {1}";

/* A primary that was demoted and promoted again under a live connection has another replid. */
#define SAME_LIFE(arg)                                                                   \
    "if " arg "~='' then local i=redis.pcall('INFO','replication')\n"                    \
    " if type(i)=='string' and not string.find(i,'master_replid:'.." arg ",1,true) then" \
    " return {2} end end\n"

const char pawl_script_open[] = FACTS SAME_LIFE("ARGV[2]") "redis.call('SET',KEYS[1],ARGV[1])\n"
                                                           "return {1}";

#define FAMILY_SET                                                           \
    "if ARGV[5]~='' then\n"                                                  \
    "if redis.call('GET',KEYS[2])~=ARGV[5] then return {2} end\n" SAME_LIFE( \
        "ARGV[6]") "end\n"                                                   \
                   "local h=redis.call('HMGET',KEYS[1],'v','r')\n"           \
                   "local v=h[1] or '0000000000000000'\n"                    \
                   "if v==ARGV[2] and h[2]==ARGV[3] then return {1} end\n"   \
                   "if v~=ARGV[1] then return {0,v,h[2] or ''} end\n"        \
                   "redis.call('HSET',KEYS[1],'v',ARGV[2],'r',ARGV[3])\n"    \
                   "redis.call('PEXPIREAT',KEYS[1],ARGV[4])\n"               \
                   "return {1}"

/* One that is there already takes no more room: refreshes go on in an engine that is full. */
const char pawl_script_family_new[] = COUNTS FAMILY_SET;
const char pawl_script_family_next[] = FACTS FAMILY_SET;

/* unpack() has room for 8,000 values. Without a record left the fence stays, until it expires. */
const char pawl_script_slot_save[] = COUNTS HIGHER
    "local o=redis.call('HGET',KEYS[1],'o')\n"
    "if o and higher(string.sub(o,1,16),ARGV[1]) then return {0,string.sub(o,1,16)} end\n"
    "redis.call('HSET',KEYS[1],'o',ARGV[1]..' '..ARGV[2])\n"
    "local last=4+2*tonumber(ARGV[4])\n"
    "for i=5,last,2000 do\n"
    " redis.call('HSET',KEYS[1],unpack(ARGV,i,math.min(i+1999,last)))\n"
    "end\n"
    "for i=last+1,#ARGV,2000 do\n"
    " redis.call('HDEL',KEYS[1],unpack(ARGV,i,math.min(i+1999,#ARGV)))\n"
    "end\n"
    "redis.call('PEXPIRE',KEYS[1],ARGV[3])\n"
    "return {1}";

const char pawl_script_slot_load[] = "#!lua flags=no-writes\n"
                                     "local n=redis.call('HLEN',KEYS[1])\n"
                                     "if n>tonumber(ARGV[1]) then return {0,n} end\n"
                                     "return {1,redis.call('HGETALL',KEYS[1])}";
