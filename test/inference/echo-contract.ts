import t from 'tap'
import { backendContract } from '../contract/backend.ts'
import { EchoBackend } from '../support/echo-backend.ts'

t.test('the echo that other tests rely on keeps the backend contract', async (t) => {
  await backendContract(t, 'echo', () => new EchoBackend({ slots: 4 }), { streams: true })
})
