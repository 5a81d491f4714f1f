-- A mirror as a Lua filter; TARGETS stands for the names of clusters.
local targets = { TARGETS }
function envoy_on_request(request_handle)
  local headers = {}
  for name, value in pairs(request_handle:headers()) do
    if name ~= "authorization" and name ~= "content-length" then headers[name] = value end
  end
  local buffered = request_handle:body()
  local body = ""
  if buffered ~= nil then body = buffered:getBytes(0, buffered:length()) end
  for _, target in ipairs(targets) do
    request_handle:httpCall(target, headers, body, 2000, true)
  end
end
