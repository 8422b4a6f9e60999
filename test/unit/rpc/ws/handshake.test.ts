import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FsError } from '../../../../src/posix/errors.ts'
import { pack } from '../../../../src/rpc/ws/frames.ts'
import { ClientHandshake, HandshakeError, ServerHandshake } from '../../../../src/rpc/ws/handshake.ts'
import { readToken, Token } from '../../../../src/rpc/ws/token.ts'

const limits = { calls: 10, messageBytes: 65_536 }
const identity = { client: 'me', session: 'now' }
const secret = new Token(Buffer.from('a secret of some length'))
const other = new Token(Buffer.from('another secret, as long'))

const client = (token?: Token) => new ClientHandshake(identity, { token, limits, randomBytes })
const server = (token?: Token) => new ServerHandshake({ token, limits, randomBytes, instance: 'life' })

/** Both, to the end. */
function shake(clientToken?: Token, serverToken?: Token) {
  const [us, them] = [client(clientToken), server(serverToken)]
  const challenge = sent(them.next(us.hello))
  const proof = sent(us.next(challenge))
  const facts = them.next(proof)
  return { facts, known: us.next(them.welcome(true)), said: [us.hello, challenge, proof] }
}

function sent(step: object): Buffer {
  if (!('send' in step)) throw new Error('nothing to send')
  return step.send as Buffer
}

describe('the handshake', () => {
  it('tells both sides who the other is, and what it bears', () => {
    for (const token of [undefined, secret]) {
      const { facts, known } = shake(token, token)
      expect(facts).toEqual({ ...identity, limits })
      expect(known).toEqual({ instance: 'life', resumed: true, limits })
    }
  })

  it('fails for want of the same token', () => {
    for (const [ours, theirs] of [
      [secret, other],
      [undefined, secret],
      [secret, undefined],
    ] as const) {
      expect(() => shake(ours, theirs)).toThrow(HandshakeError)
      try {
        shake(ours, theirs)
      } catch (error) {
        expect((error as HandshakeError).unauthorized).toBe(true)
      }
    }
  })

  it('never says the token, nor the same twice', () => {
    const [first, second] = [shake(secret, secret), shake(secret, secret)]
    for (const message of [...first.said, ...second.said]) expect(message.includes('a secret')).toBe(false)
    expect(first.said[2]).not.toEqual(second.said[2])
    for (const shown of [inspect(secret, { showHidden: true, depth: 9 }), JSON.stringify(secret), String(secret)]) {
      expect(shown).not.toContain('secret of')
    }
  })

  it('takes no proof of another conversation, of the other side, or of nobody', () => {
    const { said } = shake(secret, secret)
    const replayed = server(secret)
    replayed.next(said[0] as Buffer)
    expect(() => replayed.next(said[2] as Buffer)).toThrow(/another token/)
    // A server that sends back what it was sent.
    const us = client(secret)
    const challenge = sent(server(secret).next(us.hello))
    const proof = sent(us.next(challenge))
    expect(proof.includes('proof')).toBe(true)
    const mirrored = pack(['welcome', { proof: secret.proof('client', [us.hello, challenge]), resumed: false }])
    expect(() => us.next(mirrored)).toThrow(/another token/)
    const mute = client(secret)
    mute.next(sent(server(secret).next(mute.hello)))
    expect(() => mute.next(pack(['welcome', { proof: Buffer.alloc(0), resumed: false }]))).toThrow(/no token/)
  })

  it('takes no message out of its turn, nor anything else', () => {
    const messages = fc.oneof(
      fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
      fc
        .constantFrom('hello', 'challenge', 'proof', 'welcome')
        .chain((name) => fc.anything().map((value) => [name, value]))
        .map((value) => {
          try {
            return pack(value)
          } catch {
            return Buffer.alloc(0)
          }
        }),
    )
    fc.assert(
      fc.property(messages, (message) => {
        for (const side of [client(), server(), client(secret), server(secret)]) {
          expect(() => side.next(message)).toThrow(HandshakeError)
        }
      }),
    )
    const them = server()
    them.next(client().hello)
    expect(() => them.next(client().hello)).toThrow(HandshakeError)
  })
})

describe('a token in a file', () => {
  it('is its text, and refused if it is short, long, or open to others', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'proteus-token-'))
    try {
      const write = async (name: string, text: string, mode = 0o600) => {
        const path = join(directory, name)
        await writeFile(path, text)
        await chmod(path, mode)
        return path
      }
      const token = await readToken(await write('good', '  a secret of some length\n'))
      expect(token.isProof(secret.proof('client', []), 'client', [])).toBe(true)
      const refused = async (path: string, code: string) => {
        const error = await readToken(path).then(
          () => undefined,
          (failure: unknown) => failure,
        )
        expect(error).toBeInstanceOf(FsError)
        expect(error).toMatchObject({ code })
      }
      await refused(await write('short', 'secret\n'), 'EINVAL')
      await refused(await write('long', 'x'.repeat(5000)), 'EINVAL')
      await refused(await write('open', 'a secret of some length', 0o644), 'EACCES')
      await refused(join(directory, 'none'), 'ENOENT')
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
