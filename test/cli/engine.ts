import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { EXIT } from '../../src/cli/context.ts'
import { ENGINE_VERSION, kindsFor, thisPlatform } from '../../src/inference/llamacpp/install.ts'
import { command } from '../support/command.ts'

/** An npm that writes down what it was asked and makes the packages, or does what `script` says. */
async function npm(t: Test, script: string): Promise<{ folder: string; path: string }> {
  const folder = t.testdir()
  const bin = join(folder, 'bin')
  await mkdir(bin)
  const text = `#!/bin/sh\nprintf '%s\\n' "$@" > '${folder}/asked'\nenv > '${folder}/env'\n${script}\n`
  await writeFile(join(bin, 'npm'), text)
  await chmod(join(bin, 'npm'), 0o755)
  return { folder, path: `${bin}:/usr/bin:/bin` }
}

const MAKE_PACKAGES = `
prefix=$3
for wanted in "$@"; do case $wanted in
  *@${ENGINE_VERSION})
    folder=$prefix/node_modules/\${wanted%@${ENGINE_VERSION}}
    mkdir -p $folder/bins
    printf '{"version":"${ENGINE_VERSION}"}' > $folder/package.json ;;
esac; done`

const [first = 'cpu'] = kindsFor(thisPlatform()).slice(-1)

t.test('install fetches with npm and says what is there', async (t) => {
  const { folder, path } = await npm(t, MAKE_PACKAGES)
  const data = join(folder, 'data')
  const { status, out, err } = await command(['engine', 'install', first, '--data', data], {
    environment: { npm: { PATH: path, HTTPS_PROXY: 'http://proxy' }, passphrase: 'secret' },
  })
  t.equal(status, EXIT.ok, err)
  t.equal(out, `installed ${ENGINE_VERSION} with ${first} in the data folder\n`)
  const asked = (await readFile(join(folder, 'asked'), 'utf8')).split('\n')
  t.strictSame(asked.slice(0, 3), ['install', '--prefix', join(data, 'engines', ENGINE_VERSION)])
  t.ok(asked.includes('--ignore-scripts'))
  const env = await readFile(join(folder, 'env'), 'utf8')
  t.match(env, 'HTTPS_PROXY=http://proxy', 'npm finds its way out')
  t.notMatch(env, 'secret')

  const shown = await command(['engine', 'show', '--data', data, '--json'])
  t.equal(shown.status, EXIT.ok)
  const report = JSON.parse(shown.out)
  t.match(report.use, { where: 'data folder', version: ENGINE_VERSION, kinds: [first] })
  const text = await command(['engine', 'show', '--data', data])
  t.match(text.out, new RegExp(`^data folder +${ENGINE_VERSION} +${first}\n`))
  t.match(text.out, /was installed on purpose and comes first/)
})

t.test('the data folder may come from the configuration', async (t) => {
  const { folder, path } = await npm(t, MAKE_PACKAGES)
  const config = join(folder, 'supplier.yaml')
  await writeFile(
    config,
    `dataDir: mine
chain: { rpc: [http://127.0.0.1:9] }
operators: [{ keyFile: x }]
services: [{ id: text, backend: { kind: llamacpp, model: tiny } }]`,
  )
  const { status, out, err } = await command(
    ['engine', 'install', first, '--config', config, '--json'],
    { environment: { npm: { PATH: path } } },
  )
  t.equal(status, EXIT.ok, err)
  t.match(JSON.parse(out).url, `${folder}/mine/engines/${ENGINE_VERSION}/`)
})

t.test('a kind that this platform does not have is refused, with those it has', async (t) => {
  const { status, err } = await command(['engine', 'install', 'tpu', '--data', t.testdir()])
  t.equal(status, EXIT.config)
  t.match(
    err,
    `there is no engine "tpu" for ${thisPlatform()}; there is: ${kindsFor(thisPlatform()).join(', ')}`,
  )
})

t.test('what npm says is passed on when it fails', async (t) => {
  const { folder, path } = await npm(t, 'echo "network is unreachable" >&2; exit 1')
  const { status, err } = await command(
    ['engine', 'install', first, '--data', join(folder, 'data')],
    { environment: { npm: { PATH: path } } },
  )
  t.equal(status, EXIT.failure)
  t.match(err, /ENGINE_MISSING: npm could not install it: .*network is unreachable/s)
  t.notMatch(err, /\n +at /, 'no stack')
})

t.test('no npm at all', async (t) => {
  const { status, err } = await command(['engine', 'install', first, '--data', t.testdir()], {
    environment: { npm: { PATH: '/nowhere' } },
  })
  t.equal(status, EXIT.failure)
  t.match(err, /ENGINE_MISSING: npm could not install it: .*ENOENT/)
})
