// Package ec2lab is EC2 for the lab: it speaks EC2's query protocol in front of the nspawn
// provider, so that the real SDK drives real hosts, and keeps EC2's behaviour, the bad ones
// included.
//
// # How near the truth it is
//
// What requests may say comes from the SDK: each field of an input that the SDK has is put through
// the SDK's own serializer once, and that is the list of parameters. A request is decoded by it and
// encoded again by the SDK; when the two differ it is refused. Answers are written with the names
// that the SDK's deserializers read (internal/gen takes them from its source), so that the SDK
// reads every field back. What EC2 does beyond its wire format is written here by hand, after AWS's
// documentation; docs/ec2.md lists what is known to differ.
package ec2lab

//go:generate go run ./internal/gen names_gen.go AttachVolume CreateSnapshot CreateTags CreateVolume DeleteSnapshot DeleteVolume DescribeAvailabilityZones DescribeImages DescribeInstanceTypes DescribeInstances DescribeSnapshots DescribeVolumes DescribeVolumesModifications DetachVolume ModifyInstanceMetadataOptions ModifyVolume RebootInstances RunInstances StartInstances StopInstances TerminateInstances
