import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { KEY_ERRORS } from '../../src/keys/errors.ts'
import { resolvePassphrase } from '../../src/keys/passphrase.ts'

/** @returns the path of a new file with these permissions */
async function file(folder: string, name: string, text: string, mode = 0o600): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  await chmod(path, mode)
  return path
}

const prompt = async () => 'typed'

t.test('the file comes first, then systemd, the environment, the prompt', async (t) => {
  const folder = t.testdir({ credentials: {} })
  const credentialsDirectory = join(folder, 'credentials')
  await file(credentialsDirectory, 'passphrase', 'from systemd', 0o400)
  const passphraseFile = await file(folder, 'own', 'from the file')
  const environment = 'from the environment'
  const all = { passphraseFile, credentialsDirectory, environment, prompt }
  t.equal(await resolvePassphrase(all), 'from the file')
  t.equal(await resolvePassphrase({ ...all, passphraseFile: undefined }), 'from systemd')
  t.equal(await resolvePassphrase({ environment, prompt }), 'from the environment')
  t.equal(await resolvePassphrase({ prompt }), 'typed')
})

t.test('without any source the operator is told the choices', async (t) => {
  const expected = { name: 'KeyError', code: 'NO_PASSPHRASE' }
  await t.rejects(resolvePassphrase({}), expected)
  for (const choice of ['passphraseFile', 'LoadCredential', 'POKT_SUPPLIER_PASSPHRASE', 'terminal'])
    t.match(KEY_ERRORS.NO_PASSPHRASE, choice)
  await t.rejects(resolvePassphrase({ prompt: async () => '' }), expected, 'an empty answer')
  t.equal(await resolvePassphrase({ environment: '', prompt }), 'typed', 'an empty variable')
})

t.test('one newline at the end is not part of the passphrase, all else is', async (t) => {
  const folder = t.testdir({})
  const texts = {
    'words\n': 'words',
    'words\r\n': 'words',
    'words\n\n': 'words\n',
    '  words ': '  words ',
    words: 'words',
    'two\nlines\n': 'two\nlines',
  }
  for (const [text, passphrase] of Object.entries(texts)) {
    const passphraseFile = await file(folder, 'own', text)
    t.equal(await resolvePassphrase({ passphraseFile }), passphrase, JSON.stringify(text))
    t.equal(await resolvePassphrase({ environment: text }), passphrase, JSON.stringify(text))
  }
})

t.test('a file that is named must be there, closed to others and hold something', async (t) => {
  const folder = t.testdir({})
  const none = { passphraseFile: join(folder, 'none'), environment: 'other', prompt }
  await t.rejects(resolvePassphrase(none), { code: 'FILE_UNREADABLE' })
  const open = await file(folder, 'open', 'words', 0o644)
  await t.rejects(resolvePassphrase({ passphraseFile: open, prompt }), {
    code: 'FILE_OPEN_TO_OTHERS',
  })
  const group = await file(folder, 'group', 'words', 0o640)
  await t.rejects(resolvePassphrase({ passphraseFile: group }), { code: 'FILE_OPEN_TO_OTHERS' })
  for (const text of ['', '\n', 'x'.repeat(5_000)]) {
    const passphraseFile = await file(folder, 'bad', text)
    const expected = { name: 'KeyError', code: 'NO_PASSPHRASE' }
    await t.rejects(resolvePassphrase({ passphraseFile, prompt }), expected, `${text.length}`)
  }
})

t.test('a systemd credential may have the modes that systemd gives', async (t) => {
  const folder = t.testdir({})
  for (const mode of [0o400, 0o440, 0o600]) {
    const path = await file(folder, 'passphrase', 'words', 0o600)
    await chmod(path, mode)
    const given = await resolvePassphrase({ credentialsDirectory: folder })
    t.equal(given, 'words', mode.toString(8))
    const named = { passphraseFile: path, credentialsDirectory: `${folder}/` }
    t.equal(await resolvePassphrase(named), 'words', `named as a file, ${mode.toString(8)}`)
    await chmod(path, 0o600)
  }
  await file(folder, 'passphrase', 'words', 0o644)
  await t.rejects(resolvePassphrase({ credentialsDirectory: folder, environment: 'x' }), {
    code: 'FILE_OPEN_TO_OTHERS',
  })
})

t.test('a credential directory for something else is passed over', async (t) => {
  const folder = t.testdir({ other: 'x' })
  t.equal(await resolvePassphrase({ credentialsDirectory: folder, environment: 'env' }), 'env')
  const gone = join(folder, 'gone')
  t.equal(await resolvePassphrase({ credentialsDirectory: gone, prompt }), 'typed')
  const strange = t.testdir({ passphrase: {} })
  await chmod(join(strange, 'passphrase'), 0o700)
  await t.rejects(resolvePassphrase({ credentialsDirectory: strange, environment: 'env' }), {
    code: 'FILE_UNREADABLE',
  })
})

t.test('no error shows what was read', async (t) => {
  const folder = t.testdir({})
  const passphraseFile = await file(folder, 'bad', 'hunter2'.repeat(1_000))
  await t.rejects(resolvePassphrase({ passphraseFile }), { message: /^(?!.*hunter2)/ })
})
