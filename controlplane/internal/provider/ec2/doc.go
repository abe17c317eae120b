// Package ec2 is the provider for Amazon EC2: machines are instances, volumes are EBS volumes,
// snapshots are EBS snapshots.
//
// # What is made is found again
//
// Everything is tagged by the very call that makes it. Calls with a client token are repeated
// freely. CreateSnapshot and AttachVolume have none: they are sent once, unless EC2 refused them,
// and when an answer is lost the provider looks for what the call may have made before it says that
// it failed.
//
// # Eventual consistency
//
// EC2 may not know yet what it has just made, for a minute and longer, and one call may know what
// the next one does not. An ID that this provider was given within Config.Consistency is therefore
// not found only after that: until then a call asks again for some seconds, and then its caller is
// asked to wait. A list by tags is read again for some seconds, for whoever asks may hold a server
// still, and one that has to be complete is waited for, after
//
//   - a call with these tags that ended without an answer: it failed, or its caller gave up when
//     the job was cancelled, and EC2 may be at it still;
//   - the moment until which, by the filter, others have worked on what it is about: a worker whose
//     job was taken over;
//   - the start of the provider, when the list is empty: a crash just before may have made what is
//     being looked for.
//
// # The join token
//
// It travels in the user data, for there is no other way onto a machine that has no identity yet.
// What guards it: it is for one use and for 15 minutes, the metadata service demands a session
// (IMDSv2) and answers no container (hop limit 1). Once the agent has enrolled it is worth nothing,
// so the metadata service stays on unless the operator wants it off: cloud-init asks it at each
// boot. docs/ec2.md says what remains.
package ec2
