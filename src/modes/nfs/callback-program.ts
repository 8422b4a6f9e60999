// A program of our own: by it a client tells the server that it serves calls on the connection which it opened itself. So
// the server can call back (NLM4.GRANTED) a client that has no port of its own, and no portmapper.
//
// A server of somebody else answers PROG_UNAVAIL: then it finds the client in the usual way, or the client asks again.
import { bool, i32, nothing, struct, text } from '../../codec/xdr.ts'
import { procedure, program } from '../../rpc/onc/program.ts'

/** In the range for transient programs (RFC 5531 §13): 'Prot'. */
const NUMBER = 0x50726f74

export const CALLBACK = program('CALLBACK', NUMBER, 1, {
  NULL: procedure(0, nothing, nothing),
  /**
   * The TCP connection on which this comes takes calls, too. `callerName`: the client's name in NLM4's calls, which must
   * be different for each client process: when no such connection of a client has been there for the server's lease, its
   * locks are released. To be said again on each new connection, before anything that needs a lock.
   *
   * `known`: the server has kept whatever this client had. If it has not, it has restarted or the lease was over: a client
   * that has locks has to reclaim them or to see them as lost. `state`: the server's NSM state number.
   */
  ACCEPTS_CALLS: procedure(1, struct({ callerName: text(1024) }), struct({ known: bool, state: i32 })),
})
