"""What every servicer needs: conversion, statuses, identity, interception."""
