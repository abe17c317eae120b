// Package agentpool keeps the connections to the servers' agents, one each, and shows each agent as
// the workflow's Agent: it knows the wire, nobody above it does.
//
// Every call has an end of its own, whatever its caller's context says, and every connection is
// probed while it is open, so that an agent that hangs or a connection that is half-open is noticed
// and never waited for.
package agentpool
