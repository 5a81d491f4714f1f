// A service that passes requests on to PRIMARY and, if it is told of a TARGET, sends a copy there, as one writes it with the HTTP library of Node.js:
// nobody waits for the copy, errors are logged. It counts what became of copies, and tells at /outcomes.
import http from 'node:http';

const { PORT, PRIMARY, TARGET } = process.env;
// An agent each, so that a target that hangs does not use up the connections of the primary.
const agents = { primary: new http.Agent({ keepAlive: true }), target: new http.Agent({ keepAlive: true }) };
const outcomes = { delivered: 0, failed: 0 };

function send(base, agent, { method, url, headers }, body) {
  return new Promise((resolve, reject) => {
    const { connection, 'transfer-encoding': chunked, host, ...others } = headers;
    const request = http.request(base + url, { method, agent, headers: { ...others, 'content-length': body.length } }, resolve);
    request.on('error', reject);
    request.end(body);
  });
}

async function copy(request, body) {
  try {
    const answer = await send(TARGET, agents.target, request, body);
    answer.resume();
    if (answer.statusCode >= 400) throw new Error(`status ${answer.statusCode}`);
    outcomes.delivered += 1;
  } catch (error) {
    outcomes.failed += 1;
    console.error('copy failed:', error.message);
  }
}

async function forward(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (TARGET) copy(request, body);
  try {
    const answer = await send(PRIMARY, agents.primary, request, body);
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  } catch (error) {
    console.error('primary failed:', error.message);
    response.writeHead(502).end();
  }
}

http.createServer((request, response) => {
  if (request.url === '/outcomes') response.end(JSON.stringify(outcomes));
  else forward(request, response).catch((error) => { console.error(error); response.destroy(); });
}).listen(Number(PORT), '127.0.0.1');
