-- Ask pawld about a request: http-request lua.pawl URL
-- Sets txn.pawl.status (200, 401, 403, 429, 503; 0: no answer) and what came with it.

local wanted = {
    ["retry-after"] = "retry_after",
    ["ratelimit"] = "ratelimit",
    ["ratelimit-policy"] = "policy",
    ["www-authenticate"] = "challenge",
    ["x-pawl-subject"] = "subject",
    ["x-pawl-client"] = "client",
}

core.register_action("pawl", { "http-req" }, function(txn, url)
    -- The client's address alone, whatever it claimed; its token; nothing else of it.
    local headers = {
        ["host"] = { "localhost" },
        ["x-forwarded-for"] = { txn.f:src() },
    }
    local authorization = txn.http:req_get_headers()["authorization"]
    if authorization then
        headers["authorization"] = { authorization[0] }
    end

    local client = core.httpclient()
    local answer = client:get{ url = url, headers = headers, timeout = 1000 }

    txn:set_var("txn.pawl.status", answer and answer.status or 0)
    if answer and answer.headers then
        for name, variable in pairs(wanted) do
            local values = answer.headers[name]
            if values then
                txn:set_var("txn.pawl." .. variable, values[0])
            end
        end
    end
end, 1)
