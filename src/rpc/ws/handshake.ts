// How a connection begins, before any call: both sides say who they are and what they bear, and prove that they know the
// token. Pure: messages in, messages out.
//
//     client                                      server
//     HELLO(client, session, nonce, limits)  ──▶
//                                            ◀──  CHALLENGE(instance, nonce, limits)
//     PROOF(HMAC(token, HELLO, CHALLENGE))   ──▶
//                                            ◀──  WELCOME(HMAC(token, HELLO, CHALLENGE, PROOF), resumed)
//
// The client proves first: else anybody could collect proofs of a server to try tokens on. Where there is no token, proofs
// are empty. Whoever can change what is under way needs no token after that: against them there is TLS.
import * as v from 'valibot'
import { pack, unpack } from './frames.ts'
import { bytes, check, type Schema, text, unsigned } from './schemas.ts'
import type { Token } from './token.ts'

export const PROTOCOL_VERSION = 1
export const NONCE_BYTES = 32
const ID_BYTES = 255

/** What one side bears; the other keeps to it. */
export interface PeerLimits {
  /** Calls in progress. */
  readonly calls: number
  /** The most bytes of a message. */
  readonly messageBytes: number
}

/** Who calls, for as long as it lives. */
export interface ClientIdentity {
  /** The name that a client keeps. */
  readonly client: string
  /** Another one each time that the client begins anew: its calls are counted from there. */
  readonly session: string
}

const limits = v.object({ calls: unsigned(2 ** 20), messageBytes: v.pipe(unsigned(2 ** 30), v.minValue(4096)) })
const nonce = v.pipe(bytes(NONCE_BYTES), v.length(NONCE_BYTES))
const version = v.literal(PROTOCOL_VERSION)
const Hello = v.object({ version, client: text(ID_BYTES), session: text(ID_BYTES), nonce, limits })
const Challenge = v.object({ version, instance: text(ID_BYTES), nonce, limits })
const Proof = v.object({ proof: bytes(64) })
const Welcome = v.object({ proof: bytes(64), resumed: v.boolean() })

const [HELLO, CHALLENGE, PROOF, WELCOME] = ['hello', 'challenge', 'proof', 'welcome'] as const

/** The handshake failed: there will be no connection. `unauthorized`: for want of the right token. */
export class HandshakeError extends Error {
  override readonly name = 'HandshakeError'
  readonly unauthorized: boolean

  constructor(message: string, { unauthorized = false, ...options }: ErrorOptions & { unauthorized?: boolean } = {}) {
    super(message, options)
    this.unauthorized = unauthorized
  }
}

export interface HandshakeOptions {
  readonly token?: Token | undefined
  readonly limits: PeerLimits
  /** So many bytes that nobody can foresee. */
  randomBytes(length: number): Buffer
}

/** What a client knows after it: of its server. */
export interface ServerFacts {
  /** Another one each time that the server begins anew. */
  readonly instance: string
  /** The server remembers this session of the client: what was called over earlier connections. */
  readonly resumed: boolean
  readonly limits: PeerLimits
}

/** What a server knows after it: of its client. */
export interface ClientFacts extends ClientIdentity {
  readonly limits: PeerLimits
}

export class ClientHandshake {
  readonly #options: HandshakeOptions
  readonly #hello: Buffer
  #challenge: Buffer | undefined
  #facts: Omit<ServerFacts, 'resumed'> | undefined
  #proof: Buffer = Buffer.alloc(0)

  constructor(identity: ClientIdentity, options: HandshakeOptions) {
    this.#options = options
    const nonce = options.randomBytes(NONCE_BYTES)
    this.#hello = pack([HELLO, { version: PROTOCOL_VERSION, ...identity, nonce, limits: options.limits }])
  }

  /** The first message. */
  get hello(): Buffer {
    return this.#hello
  }

  /** Takes the server's next message: what to answer, or what there is to know at the end. HandshakeError. */
  next(message: Buffer): { readonly send: Buffer } | ServerFacts {
    const { token } = this.#options
    if (this.#facts === undefined || this.#challenge === undefined) {
      const { instance, limits } = read(CHALLENGE, Challenge, message)
      this.#challenge = Buffer.from(message)
      this.#facts = { instance, limits }
      const proof = token?.proof('client', [this.#hello, this.#challenge]) ?? Buffer.alloc(0)
      this.#proof = pack([PROOF, { proof }])
      return { send: this.#proof }
    }
    const { proof, resumed } = read(WELCOME, Welcome, message)
    verify(token, proof, 'server', [this.#hello, this.#challenge, this.#proof])
    return { ...this.#facts, resumed }
  }
}

export class ServerHandshake {
  readonly #options: HandshakeOptions & { readonly instance: string }
  #said: Buffer[] = []
  #facts: ClientFacts | undefined

  constructor(options: HandshakeOptions & { readonly instance: string }) {
    this.#options = options
  }

  /** Takes the client's next message: what to answer, or who it is. Then `welcome` is the answer. HandshakeError. */
  next(message: Buffer): { readonly send: Buffer } | ClientFacts {
    const { token, instance, limits, randomBytes } = this.#options
    if (this.#facts === undefined) {
      const { client, session, limits: theirs } = read(HELLO, Hello, message)
      this.#facts = { client, session, limits: theirs }
      const nonce = randomBytes(NONCE_BYTES)
      const challenge = pack([CHALLENGE, { version: PROTOCOL_VERSION, instance, nonce, limits }])
      this.#said = [Buffer.from(message), challenge]
      return { send: challenge }
    }
    const { proof } = read(PROOF, Proof, message)
    verify(token, proof, 'client', this.#said)
    this.#said.push(Buffer.from(message))
    return this.#facts
  }

  /** The last message. */
  welcome(resumed: boolean): Buffer {
    return pack([WELCOME, { proof: this.#options.token?.proof('server', this.#said) ?? Buffer.alloc(0), resumed }])
  }
}

function verify(token: Token | undefined, proof: Buffer, side: 'client' | 'server', said: readonly Buffer[]): void {
  if (token === undefined) {
    if (proof.length === 0) return
    throw new HandshakeError(`the ${side} has a token, and there is none here`, { unauthorized: true })
  }
  if (proof.length === 0) throw new HandshakeError(`the ${side} has no token`, { unauthorized: true })
  if (token.isProof(proof, side, said)) return
  throw new HandshakeError(`the ${side} has another token`, { unauthorized: true })
}

function read<T>(name: string, schema: Schema<T>, message: Buffer): T {
  let values: unknown[]
  try {
    values = unpack(message)
  } catch (error) {
    throw new HandshakeError(`no ${name}`, { cause: error })
  }
  const [value] = values
  if (values.length !== 1 || !Array.isArray(value) || value.length !== 2 || value[0] !== name) {
    throw new HandshakeError(`no ${name}`)
  }
  const checked = check(schema, value[1])
  if ('wrong' in checked) throw new HandshakeError(`${name}: ${checked.wrong}`)
  return checked.value
}
