import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { type ApiRules, askedOf } from '../../src/inference/api.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import { errorObject, errorStatus } from '../../src/inference/write/error.ts'

const rules: ApiRules = {
  model: 'demo',
  strictModel: false,
  canStream: false,
  choicesMax: 8,
  basePath: '',
  bodyBytesMax: 1_000,
}
const chat = '{"messages":[{"role":"user","content":"Hello."}]}'

/** What is asked, such as `chat` or `model <id>`, or the status and code of the refusal. */
function outcome(method: string, url: string, body = chat, more: Partial<ApiRules> = {}): string {
  try {
    const request = { method, url, headers: [], body: utf8(body) }
    const asked = askedOf(request, { ...rules, ...more })
    if (asked.kind === 'model') return `model ${asked.id}`
    if (asked.kind === 'document') return `document ${asked.name}${asked.isHash ? ' hash' : ''}`
    return asked.kind
  } catch (error) {
    if (!(error instanceof InferenceError)) throw error
    const { param, code } = errorObject(error)['error'] as { param: string | null; code: string }
    return [errorStatus(error), code, ...(param === null ? [] : [param])].join(' ')
  }
}

t.test('paths', async (t) => {
  const rows: [method: string, url: string, expected: string][] = [
    ['POST', 'http://host:1/v1/chat/completions', 'chat'],
    ['POST', 'http://host:1/chat/completions', 'chat'],
    ['POST', 'https://user:pass@host/v1/chat/completions', 'chat'],
    ['POST', '/v1/chat/completions', 'chat'],
    ['POST', '/v1/chat/completions/', 'chat'],
    ['POST', '//v1///chat//completions//', 'chat'],
    ['POST', '/v1/chat/completions?a=/v1/models', 'chat'],
    ['POST', '/v1/chat/completions#/../x', 'chat'],
    ['POST', '/v1/chat%2Fcompletions', 'chat'],
    ['POST', '/some/prefix/v1/chat/completions', 'chat'],
    ['post', '/v1/chat/completions', 'chat'],
    ['POST', 'http://host', 'chat'],
    ['POST', 'http://host/', 'chat'],
    ['POST', 'http://host?x', 'chat'],
    ['POST', '', 'chat'],
    ['POST', '/v1', 'chat'],
    ['GET', 'http://host/v1/models', 'models'],
    ['GET', '/models', 'models'],
    ['GET', '/v1/models/', 'models'],
    ['GET', '/llm/models?limit=1', 'models'],
    ['GET', '/v1/models/demo', 'model demo'],
    ['GET', '/models/org/name:7b', 'model org/name:7b'],
    ['GET', '/v1/models/org%2Fname', 'model org/name'],
    ['GET', '/v1/models/%E2%82%AC', 'model €'],
    ['GET', '/', '404 unknown_url'],
    ['GET', '/v1', '404 unknown_url'],
    ['POST', '/v1/completions', '400 missing_required_parameter prompt'],
    ['POST', '/completions', '400 missing_required_parameter prompt'],
    ['POST', '/v1/embeddings', '400 missing_required_parameter input'],
    ['POST', '/v1/responses', '400 missing_required_parameter input'],
    ['POST', '/tokenize', 'tokenize'],
    ['POST', '/v1/tokenize', 'tokenize'],
    ['POST', '/v1/detokenize', '400 missing_required_parameter tokens'],
    ['GET', '/pokt/manifest', 'document manifest'],
    ['GET', '/v1/pokt/config', 'document config'],
    ['GET', 'http://host/llm/pokt/tokenizer-hash', 'document tokenizer hash'],
    ['POST', '/pokt/config', '405 method_not_allowed'],
    ['GET', '/pokt/other', '404 unknown_url'],
    ['GET', '/v1/embeddings', '405 method_not_allowed'],
    ['GET', '/v1/responses/resp_1', '404 unknown_url'],
    ['POST', '/v1/chat', '404 unknown_url'],
    ['POST', '/v1/Chat/Completions', '404 unknown_url'],
    ['POST', '/v1/chat/completions/x', '404 unknown_url'],
    ['GET', '/metrics', '404 unknown_url'],
    ['GET', '/health', '404 unknown_url'],
    ['POST', '/prefix', '404 unknown_url'],
    ['POST', '/%2e%2e%2f', '400 invalid_url url'],
    ['GET', '/v1/chat/completions', '405 method_not_allowed'],
    ['PUT', '/v1/chat/completions', '405 method_not_allowed'],
    ['HEAD', '/v1/models', '405 method_not_allowed'],
    ['POST', '/v1/models', '405 method_not_allowed'],
    ['DELETE', '/v1/models/demo', '405 method_not_allowed'],
    ['OPTIONS', '/chat/completions', '405 method_not_allowed'],
    ['POST', '/../v1/chat/completions', '400 invalid_url url'],
    ['POST', '/v1/./chat/completions', '400 invalid_url url'],
    ['POST', '/admin/../v1/chat/completions', '400 invalid_url url'],
    ['POST', '/%2e%2E/chat/completions', '400 invalid_url url'],
    ['POST', '/a%2f..%2fchat/completions', '400 invalid_url url'],
    ['GET', '/v1/models/..%2f..%2fetc%2fpasswd', '400 invalid_url url'],
    ['GET', '/v1/models/a%5c..%5cb', '400 invalid_url url'],
    ['GET', '/v1/models/a%00', '400 invalid_url url'],
    ['GET', '/v1/models/a%0d%0ab', '400 invalid_url url'],
    ['GET', '/v1/models/%E0%A4', '400 invalid_url url'],
    ['GET', '/v1/models/%zz', '400 invalid_url url'],
    ['GET', `/v1/models/${'x'.repeat(2_100)}`, '400 invalid_url url'],
  ]
  for (const [method, url, expected] of rows)
    t.equal(outcome(method, url), expected, `${method} ${url.slice(0, 60)}`)
})

t.test('a base path', async (t) => {
  const under = (url: string, basePath = '/pocket/llm/') => outcome('POST', url, chat, { basePath })
  t.equal(under('http://host/pocket/llm'), 'chat', 'bare')
  t.equal(under('http://host/pocket/llm/'), 'chat', 'bare with a slash')
  t.equal(under('http://host/pocket//llm/v1'), 'chat', 'bare with /v1')
  t.equal(under('http://host/pocket/llm/v1/chat/completions'), 'chat')
  t.equal(under('http://host/v1/chat/completions'), 'chat', 'left out by the gateway')
  t.equal(under('http://host/'), 'chat', 'left out by the gateway, bare')
  t.equal(under('http://host/pocket'), '404 unknown_url', 'half of it')
  const models = { basePath: '/models' }
  t.equal(outcome('GET', '/models/v1/models/x', '', models), 'model x', 'named like an operation')
})

t.test('a bare path means what its body means', async (t) => {
  t.equal(outcome('POST', '/', chat), 'chat')
  t.equal(outcome('POST', '/', '{"prompt":"a"}'), 'completion')
  t.equal(outcome('POST', '/', '{"input":["a"]}'), 'embedding')
  t.equal(outcome('POST', '/', '{"input":"a","instructions":"b"}'), 'response')
  t.equal(outcome('POST', '/', '{"tokens":[1]}'), 'detokenize')
  t.equal(outcome('POST', '/', '{"model":"a"}'), '400 missing_required_parameter messages')
  t.equal(outcome('POST', '/', '{"messages":[]}'), '400 invalid_value messages')
  t.equal(outcome('POST', '/', '{"messages":[],"prompt":"a"}'), '400 invalid_value messages')
  t.equal(
    outcome('POST', '/', '{"jsonrpc":"2.0","method":"x","id":1}'),
    '400 missing_required_parameter messages',
  )
  t.equal(outcome('POST', '/', ''), '400 invalid_json body')
})

t.test('a body', async (t) => {
  const long = chat.padEnd(1_000)
  t.equal(outcome('POST', '/chat/completions', long), 'chat', 'as large as it may be')
  t.equal(outcome('POST', '/chat/completions', `${long} `), '413 request_too_large')
  t.equal(outcome('GET', '/models', `${long} `), '413 request_too_large', 'of a GET as well')
  t.equal(outcome('GET', '/models', 'not JSON'), 'models', 'of a GET is not read')
  t.equal(outcome('POST', '/chat/completions', '{'), '400 invalid_json body')
})
