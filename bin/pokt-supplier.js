#!/usr/bin/env node
import { existsSync } from 'node:fs'

const main = new URL('../dist/src/cli/main.js', import.meta.url)
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`pokt-supplier needs Node 20.19 or newer; this is ${process.version}\n`)
  process.exitCode = 1
} else if (!existsSync(main)) {
  process.stderr.write('pokt-supplier is not built yet; run: npm ci && npm run build\n')
  process.exitCode = 1
} else {
  const { main: run } = await import(main.href)
  await run(process.argv)
}
