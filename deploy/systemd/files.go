// Package systemd holds the units and the configuration that the programs are installed with, for
// whoever makes machines.
package systemd

import _ "embed"

// AgentUnit is the name of the agent's unit.
const AgentUnit = "understudy-agent.service"

//go:embed understudy-agent.service
var agentUnit []byte

//go:embed agent.yaml
var agentConfig []byte

//go:embed understudy.yaml
var config []byte

// Config is the content of /etc/understudy/understudy.yaml.
func Config() []byte { return config }

// AgentUnitFile is the content of the agent's unit, for /etc/systemd/system.
func AgentUnitFile() []byte { return agentUnit }

// AgentConfig is the content of /etc/understudy-agent/agent.yaml.
func AgentConfig() []byte { return agentConfig }
