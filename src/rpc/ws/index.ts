// Typed services over WebSocket: a table (`program`, `procedure`), handlers (`service`), a server (`listenWs`), a client
// (`WsClient` over a `wsChannel`). docs/architecture.md, "Typed services over WebSocket".

export { WsClient, type WsClientEvent, type WsClientOptions, type WsClientStatus } from './client.ts'
export { type WsChannelKind, type WsChannelOptions, wsChannel } from './client-channel.ts'
export { ServiceError, WsError, type WsFailure } from './errors.ts'
export type { IncomingBytes } from './incoming-bytes.ts'
export { WS_LIMITS, type WsLimits } from './limits.ts'
export { type ListenWsOptions, listenWs, type WsListener } from './listen.ts'
export type { ByteSource } from './outgoing-bytes.ts'
export type { Answer, BytesOptions, CallOptions, WsPeer } from './peer.ts'
export { type Procedure, type Program, procedure, program } from './program.ts'
export { bytes, list, nothing, type Schema, text, u64, unsigned } from './schemas.ts'
export { type Handlers, type Service, service, type WithBytes, type WsContext } from './service.ts'
export type { TlsFiles } from './tls-files.ts'
