// Package hint turns the calls that an error advises into commands of the command line. No other
// part of the program knows both.
package hint

import (
	"encoding/json"
	"regexp"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/understudy-db/understudy/proto/rpc/errs"

	// Hints of the agents name its methods.
	_ "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// commands are what a user types to make a call, by its method. {field} is the value of that field
// of the call, and its name in capitals when the call leaves it open; what stands in [brackets] is
// left out then.
var commands = map[string]string{
	"GetServer":    "server get {name}",
	"ListServers":  "server list[ --of {primary}]",
	"CreateServer": "server create {name}",
	"UpdateServer": "server update {server.name} --binlog-auto-purge={server.binlog_auto_purge}",
	"DeleteServer": "server delete {name}",
	"CreateReplica": "replica create[ {name}][ --of {primary}][ --from {snapshot}]" +
		"[ --verify {verify}]",
	"RebuildReplica":           "replica rebuild {name}[ --from {snapshot}]",
	"PurgeBinlogs":             "server purge-binlogs {name}[ --ignore-replica {ignore_replicas}]",
	"GrowServer":               "server grow {name} --size {size_bytes}",
	"RebootServer":             "server reboot {name}[ --primary={allow_primary}]",
	"StopServer":               "server stop {name}[ --primary={allow_primary}]",
	"StartServer":              "server start {name}",
	"RotateReplicaCredentials": "replica rotate-credentials {name}",
	"VerifyReplica": "replica verify {name}[ --level {level}]" +
		"[ --accept-history {accept_history}]",

	"GetSnapshot":   "snapshot get {name}",
	"ListSnapshots": "snapshot list[ --of {server}]",
	"CreateSnapshot": "snapshot create {server}[ --mode {mode}]" +
		"[ --quiesce-limit {quiesce_limit}]",
	"DeleteSnapshot": "snapshot delete {name}",

	"GetJob":       "job get {name}",
	"ListJobs":     "job list[ --on {subject}]",
	"ListAttempts": "job attempts {name}[ --step {step}]",
	"WatchJob":     "job watch {name}",
	"RetryJob":     "job retry {name}[ --step {step}]",
	"RedoStep": "job redo {name} {step} --reason {reason}" +
		"[ --yes-delete {confirm_delete.name}]",
	"SkipStep":   "job skip {name} {step} --reason {reason}",
	"CancelJob":  "job cancel {name}",
	"CleanupJob": "job cleanup {name}[ --yes-delete {confirm_delete.name}]",
	"ListEvents": "event list[ --on {subject}]",

	"CheckProvider": "provider check",
	"ListImages":    "provider images",
	"ListObjects":   "provider objects",
	"SweepProvider": "provider sweep",
	"ListTasks":     "provider tasks",
	"CompleteTask": "provider done {id}[ --address {address}][ --device {device}]" +
		"[ --default-device {default_device}][ --size {size_bytes}][ --label {label}]",
	"RefuseTask": "provider refuse {id} --reason {reason}",

	"CreateJoinToken": "token create {server}[ --machine {machine}][ --replace={replace}]",
	"ListJoinTokens":  "token list",
	"GetVersion":      "version",

	"CreateAgentGrant": "agent grant {server} --for {duration} --reason {reason}" +
		"[ --operator {operator}]",
	"ListAgentGrants":  "agent grants[ {server}]",
	"RevokeAgentGrant": "agent revoke-grant {id}",

	"GetAuthorityStatus":  "ca status",
	"RotateAuthority":     "ca rotate",
	"RequestIntermediate": "ca intermediate request",

	"CreateOperator":  "operator create {name} --out {file}",
	"RenewOperator":   "context renew",
	"UpdateOperator":  "operator update {name} --servers {servers}",
	"ReadmitOperator": "operator readmit {name}",
	"Login":           "login",
	"ListOperators":   "operator list",
	"Revoke":          "agent revoke {name} --reason {reason}",
	"VerifyAudit":     "audit verify[ --chain {chain}]",
}

// revokeOperator is what Revoke is for the name of an operator.
const revokeOperator = "operator revoke {name} --reason {reason}"

// Text is a hint as the command line shows it: what to do, and the commands that do it.
func Text(h errs.Hint) string {
	all := Commands(h)
	for i, command := range all {
		all[i] = "`" + command + "`"
	}
	said := strings.Join(all, " or ")
	switch {
	case said == "":
		return h.Text
	case h.Text == "":
		return said
	}
	return h.Text + ": " + said
}

// Commands are the calls of a hint as a shell takes them. A call of an agent is one of grpcurl, and
// one that this version does not know is shown as it came.
func Commands(h errs.Hint) []string {
	var all []string
	for _, action := range h.Actions {
		all = append(all, command(action))
	}
	return all
}

func command(action errs.Action) string {
	method := action.Method[strings.LastIndexAny(action.Method, "./")+1:]
	if template, ok := commands[method]; ok {
		if method == "Revoke" && strings.HasPrefix(action.Args["name"], "operators/") {
			template = revokeOperator
		}
		return "understudy " + fill(template, action.Args)
	}
	if service := agentService(method); service != "" {
		return grpcurl(service+"/"+method, action.Args)
	}
	return action.String()
}

var (
	optional = regexp.MustCompile(`\[[^]]*\]`)
	field    = regexp.MustCompile(`\{[^}]*\}`)
)

func fill(template string, args map[string]string) string {
	template = optional.ReplaceAllStringFunc(template, func(part string) string {
		for _, name := range field.FindAllString(part, -1) {
			if args[name[1:len(name)-1]] == "" {
				return ""
			}
		}
		return part[1 : len(part)-1]
	})
	return field.ReplaceAllStringFunc(template, func(name string) string {
		name = name[1 : len(name)-1]
		if value := args[name]; value != "" {
			return word(name, value)
		}
		return placeholder(name)
	})
}

// placeholder is what a user has to fill in, as usage lines name it.
func placeholder(name string) string {
	if name == "reason" {
		return "WHY"
	}
	return strings.ToUpper(name[strings.LastIndex(name, ".")+1:])
}

var (
	plain     = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)
	resource  = regexp.MustCompile(`^(servers|snapshots|jobs|operators)/`)
	enumValue = regexp.MustCompile(`^[A-Z]+(_[A-Z]+)+$`)
)

// word is a value as a command takes it: the id of a resource, the word of an enum's value, and
// quoted where a shell would read it otherwise.
func word(name, value string) string {
	switch {
	case name == "subject": // which takes all kinds of resources
	case resource.MatchString(value):
		value = value[strings.Index(value, "/")+1:]
	case enumValue.MatchString(value):
		value = strings.ToLower(value[strings.LastIndex(value, "_")+1:])
	}
	if plain.MatchString(value) {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// agentService is the full name of the agents' service that has the method; "" when none has.
func agentService(method string) (name string) {
	protoregistry.GlobalFiles.RangeFilesByPackage("understudy.agent.v1",
		func(file protoreflect.FileDescriptor) bool {
			for i := range file.Services().Len() {
				service := file.Services().Get(i)
				if service.Methods().ByName(protoreflect.Name(method)) != nil {
					name = string(service.FullName())
				}
			}
			return name == ""
		})
	return name
}

func grpcurl(method string, args map[string]string) string {
	body := ""
	if len(args) > 0 {
		raw, err := json.Marshal(args)
		if err != nil {
			panic(err) // a map of texts
		}
		body = " -d '" + strings.ReplaceAll(string(raw), "'", `'\''`) + "'"
	}
	return "grpcurl" + body + " HOST:PORT " + method
}
